-- Feed: counts per bucket, one scan. Paste it into a ClickHouse console as it is: it shows the last two days.
-- A run binds the three values of WITH (epoch seconds) and the table's name; nothing else is changed.
WITH
    toUInt32(now()) - 172800 AS since,
    toUInt32(now()) AS until,
    900 AS step
SELECT
    toUInt32(intDiv(toUInt32(time), step) * step) AS bucket,
    uniqExact(user_id) AS users,
    countIf(action = 'view') AS views,
    countIf(action = 'like') AS likes,
    toUInt32(max(time)) AS newest
FROM feed_actions
WHERE time >= toDateTime(since) AND time < toDateTime(until)
GROUP BY bucket
ORDER BY bucket
