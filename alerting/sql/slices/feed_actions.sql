-- Feed: counts per combination of attributes, now and at the same time of the 28 days before, one scan. Paste it into a
-- ClickHouse console as it is: it shows the last hour. days_ago 0 is now; the window is as long as `since` lies beyond whole days.
WITH
    toUInt32(now()) - 2419200 - 3600 AS since,
    toUInt32(now()) AS until,
    900 AS step
SELECT
    intDiv(until - 1 - toUInt32(time), 86400) AS days_ago,
    os,
    source,
    country,
    city,
    toString(gender) AS gender,
    multiIf(age < 18, '<18', age < 25, '18-24', age < 35, '25-34', age < 45, '35-44', age < 55, '45-54', '55+') AS age_band,
    toString(exp_group) AS exp_group,
    uniqExact(user_id) AS users,
    countIf(action = 'view') AS views,
    countIf(action = 'like') AS likes
FROM feed_actions
WHERE time >= toDateTime(since) AND time < toDateTime(until)
  AND (until - 1 - toUInt32(time)) % 86400 < (until - since) % 86400
GROUP BY days_ago, os, source, country, city, gender, age_band, exp_group
