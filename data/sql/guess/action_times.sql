-- Of the rows with a time of an action and of their search: all, those earlier than the search by more than ten minutes, those later.
WITH timed AS (
    SELECT time_from_text(CAST($column AS VARCHAR)) AS acted_at, time_from_text(CAST($time AS VARCHAR)) AS searched_at FROM $rows
)
SELECT count(*), count(*) FILTER (WHERE searched_at - acted_at > INTERVAL 10 MINUTE), count(*) FILTER (WHERE acted_at > searched_at)
FROM timed
WHERE acted_at IS NOT NULL AND searched_at IS NOT NULL
