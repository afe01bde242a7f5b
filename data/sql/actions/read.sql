-- The actions of the logs with their rows, the most frequent first.
SELECT action, count(*) AS rows FROM raw_actions GROUP BY action ORDER BY rows DESC, action
