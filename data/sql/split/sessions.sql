-- A session belongs to one searcher: if one identity of a session comes with several, each has a session of its own. Searches without a
-- searcher belong to the only one of their session, who signed in or out within it. Parts that the log gives cut sessions.
CREATE TABLE session_owners AS
SELECT session_id, min(searcher_id) AS first_searcher, min(searcher_id) <> max(searcher_id) AS shared
FROM numbered_searches
WHERE session_id IS NOT NULL AND searcher_id IS NOT NULL
GROUP BY session_id;

-- A session is identified by the row of its first search. Rows ascend with time, so a running maximum finds that row.
CREATE TABLE sessions AS
WITH owned AS (
    SELECT search_row, session_id, split, coalesce(searcher_id, CASE WHEN NOT shared THEN first_searcher END) AS owner
    FROM numbered_searches LEFT JOIN session_owners USING (session_id)
    WHERE session_id IS NOT NULL
),
paused AS (
    SELECT search_row, searcher_id, split,
        epoch_us(searched_at) - lag(epoch_us(searched_at)) OVER (PARTITION BY searcher_id, split ORDER BY search_row) AS pause_us
    FROM numbered_searches
    WHERE session_id IS NULL AND searcher_id IS NOT NULL
),
opened AS (
    SELECT search_row, search_row AS first_row
    FROM numbered_searches
    WHERE getvariable('untimed') OR (session_id IS NULL AND searcher_id IS NULL)
    UNION ALL
    SELECT unnest(list(search_row)), min(search_row)
    FROM owned
    WHERE getvariable('untimed') IS NOT TRUE
    GROUP BY session_id, owner, split
    UNION ALL
    SELECT search_row, max(CASE WHEN coalesce(pause_us > 30 * 60 * 1000000, true) THEN search_row END) OVER (
        PARTITION BY searcher_id, split ORDER BY search_row ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
    FROM paused
    WHERE getvariable('untimed') IS NOT TRUE
)
SELECT opened.search_row, CAST(dense_rank() OVER (ORDER BY first_row) - 1 AS INTEGER) AS session_row,
    first.searched_at AS started_at
FROM opened
JOIN numbered_searches AS first ON first.search_row = first_row;
