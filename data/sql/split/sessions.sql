-- A session is identified by the row of its first search. Rows ascend with time, so a running maximum finds that row.
CREATE TABLE sessions AS
WITH paused AS (
    SELECT search_row, search_id, searcher_id, session_id, searched_at,
        epoch_us(searched_at) - lag(epoch_us(searched_at)) OVER (
            PARTITION BY searcher_id, session_id IS NULL ORDER BY search_row
        ) AS pause_us
    FROM numbered_searches
),
opened AS (
    SELECT search_row, CASE
        WHEN session_id IS NOT NULL THEN min(search_row) OVER (PARTITION BY session_id)
        WHEN searcher_id IS NULL THEN search_row
        ELSE max(CASE WHEN coalesce(pause_us > 30 * 60 * 1000000, true) THEN search_row END) OVER (
            PARTITION BY searcher_id, session_id IS NULL ORDER BY search_row
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    END AS first_row
    FROM paused
)
SELECT opened.search_row, CAST(dense_rank() OVER (ORDER BY first_row) - 1 AS INTEGER) AS session_row,
    first.searched_at AS started_at
FROM opened
JOIN numbered_searches AS first ON first.search_row = first_row;
