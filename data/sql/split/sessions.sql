-- A session belongs to one searcher: if one identity of a session comes with several, each has a session of its own. Searches without a
-- searcher belong to the only one of their session, who signed in or out within it. Parts that the log gives cut sessions.
CREATE TABLE session_owners AS
SELECT session_id, min(searcher_id) AS first_searcher, min(searcher_id) <> max(searcher_id) AS shared
FROM numbered_searches
WHERE session_id IS NOT NULL AND searcher_id IS NOT NULL
GROUP BY session_id;

-- A session is identified by the row of its first search. Rows ascend with time, so a running maximum finds that row.
CREATE TABLE sessions AS
WITH paused AS (
    SELECT search_row, search_id, searcher_id, session_id, searched_at, split,
        coalesce(searcher_id, CASE WHEN NOT shared THEN first_searcher END) AS owner,
        epoch_us(searched_at) - lag(epoch_us(searched_at)) OVER (
            PARTITION BY searcher_id, session_id IS NULL, split ORDER BY search_row
        ) AS pause_us
    FROM numbered_searches LEFT JOIN session_owners USING (session_id)
),
opened AS (
    SELECT search_row, CASE
        WHEN getvariable('untimed') THEN search_row
        WHEN session_id IS NOT NULL THEN min(search_row) OVER (PARTITION BY session_id, owner, split)
        WHEN searcher_id IS NULL THEN search_row
        ELSE max(CASE WHEN coalesce(pause_us > 30 * 60 * 1000000, true) THEN search_row END) OVER (
            PARTITION BY searcher_id, session_id IS NULL, split ORDER BY search_row
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    END AS first_row
    FROM paused
)
SELECT opened.search_row, CAST(dense_rank() OVER (ORDER BY first_row) - 1 AS INTEGER) AS session_row,
    first.searched_at AS started_at
FROM opened
JOIN numbered_searches AS first ON first.search_row = first_row;
