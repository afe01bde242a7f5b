-- The time at which the next part begins, from which on a part knows no action: the cut, or where the log gives the parts the first search
-- of the next one. Without rows where training searches are later than searches of other parts.
CREATE TABLE part_ends AS
WITH starts AS (
    SELECT parts.split, min(searched_at) AS first_at, min(started_at) AS first_start, max(started_at) AS last_start
    FROM parts JOIN numbered_searches USING (search_row) JOIN (SELECT search_row, started_at FROM sessions) USING (search_row)
    GROUP BY parts.split
),
ordered AS (
    SELECT max(last_start) FILTER (WHERE split = 'train') < min(first_start) FILTER (WHERE split <> 'train') AS timed FROM starts
),
ends AS (SELECT split, lead(split) OVER by_time AS next, lead(first_at) OVER by_time AS next_from FROM starts WINDOW by_time AS (ORDER BY first_at))
SELECT split, CASE next WHEN 'validation' THEN coalesce(validation_from, next_from) WHEN 'test' THEN coalesce(test_from, next_from) END AS known_until
FROM ends, cuts, ordered
WHERE timed AND next IS NOT NULL
