-- (lists with a position, lists that begin at position 0, one that does, one that does not, rows with position 0)
WITH lists AS (
    SELECT search_row, min(position) FILTER (WHERE position >= 0) AS first
    FROM checked_results
    WHERE search_row IS NOT NULL
    GROUP BY search_row
    HAVING first IS NOT NULL
)
SELECT count(*), count(*) FILTER (WHERE first = 0), min(search_id) FILTER (WHERE first = 0), min(search_id) FILTER (WHERE first > 0),
    (SELECT count(*) FROM checked_results WHERE position = 0)
FROM lists JOIN numbered_searches USING (search_row)
