-- Feed: counts per combination of attributes, now and at the same time of the 28 days before, one scan. Paste it into a
-- ClickHouse console as it is: it shows the last hour. days_ago 0 is now; the window is as long as `since` lies beyond whole days.
WITH
    toUInt32(now()) - 2419200 - 3600 AS since,
    toUInt32(now()) AS until,
    900 AS step,
    (until - since - 1) % 86400 + 1 AS width
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
WHERE (until - 1 - toUInt32(time)) % 86400 < width
  AND time >= toDateTime(since) AND time < toDateTime(until)
  AND ( -- the same 29 windows once more, as an index on time understands them: nothing else is read
    time >= toDateTime(until - 0 * 86400 - width) AND time < toDateTime(until - 0 * 86400)
    OR time >= toDateTime(until - 1 * 86400 - width) AND time < toDateTime(until - 1 * 86400)
    OR time >= toDateTime(until - 2 * 86400 - width) AND time < toDateTime(until - 2 * 86400)
    OR time >= toDateTime(until - 3 * 86400 - width) AND time < toDateTime(until - 3 * 86400)
    OR time >= toDateTime(until - 4 * 86400 - width) AND time < toDateTime(until - 4 * 86400)
    OR time >= toDateTime(until - 5 * 86400 - width) AND time < toDateTime(until - 5 * 86400)
    OR time >= toDateTime(until - 6 * 86400 - width) AND time < toDateTime(until - 6 * 86400)
    OR time >= toDateTime(until - 7 * 86400 - width) AND time < toDateTime(until - 7 * 86400)
    OR time >= toDateTime(until - 8 * 86400 - width) AND time < toDateTime(until - 8 * 86400)
    OR time >= toDateTime(until - 9 * 86400 - width) AND time < toDateTime(until - 9 * 86400)
    OR time >= toDateTime(until - 10 * 86400 - width) AND time < toDateTime(until - 10 * 86400)
    OR time >= toDateTime(until - 11 * 86400 - width) AND time < toDateTime(until - 11 * 86400)
    OR time >= toDateTime(until - 12 * 86400 - width) AND time < toDateTime(until - 12 * 86400)
    OR time >= toDateTime(until - 13 * 86400 - width) AND time < toDateTime(until - 13 * 86400)
    OR time >= toDateTime(until - 14 * 86400 - width) AND time < toDateTime(until - 14 * 86400)
    OR time >= toDateTime(until - 15 * 86400 - width) AND time < toDateTime(until - 15 * 86400)
    OR time >= toDateTime(until - 16 * 86400 - width) AND time < toDateTime(until - 16 * 86400)
    OR time >= toDateTime(until - 17 * 86400 - width) AND time < toDateTime(until - 17 * 86400)
    OR time >= toDateTime(until - 18 * 86400 - width) AND time < toDateTime(until - 18 * 86400)
    OR time >= toDateTime(until - 19 * 86400 - width) AND time < toDateTime(until - 19 * 86400)
    OR time >= toDateTime(until - 20 * 86400 - width) AND time < toDateTime(until - 20 * 86400)
    OR time >= toDateTime(until - 21 * 86400 - width) AND time < toDateTime(until - 21 * 86400)
    OR time >= toDateTime(until - 22 * 86400 - width) AND time < toDateTime(until - 22 * 86400)
    OR time >= toDateTime(until - 23 * 86400 - width) AND time < toDateTime(until - 23 * 86400)
    OR time >= toDateTime(until - 24 * 86400 - width) AND time < toDateTime(until - 24 * 86400)
    OR time >= toDateTime(until - 25 * 86400 - width) AND time < toDateTime(until - 25 * 86400)
    OR time >= toDateTime(until - 26 * 86400 - width) AND time < toDateTime(until - 26 * 86400)
    OR time >= toDateTime(until - 27 * 86400 - width) AND time < toDateTime(until - 27 * 86400)
    OR time >= toDateTime(until - 28 * 86400 - width) AND time < toDateTime(until - 28 * 86400)
  )
GROUP BY days_ago, os, source, country, city, gender, age_band, exp_group
