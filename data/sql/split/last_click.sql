-- For an audit alone: of each searcher with at least three sessions with a click, the last one is test and the one before it
-- validation; all other sessions are train, whatever their time.
CREATE TABLE parts AS
WITH clicked AS (
    SELECT searcher_id, session_row, max(search_row) AS last_row
    FROM sessions
    JOIN numbered_searches USING (search_row)
    JOIN result_lists USING (search_row)
    WHERE clicks > 0 AND searcher_id IS NOT NULL
    GROUP BY searcher_id, session_row
),
placed AS (
    SELECT session_row, row_number() OVER (PARTITION BY searcher_id ORDER BY last_row DESC) AS place,
        count(*) OVER (PARTITION BY searcher_id) AS sessions
    FROM clicked
)
SELECT search_row, session_row, CASE
    WHEN sessions >= 3 AND place = 1 THEN 'test' WHEN sessions >= 3 AND place = 2 THEN 'validation' ELSE 'train'
END AS split
FROM sessions LEFT JOIN placed USING (session_row);

CREATE TABLE cuts AS SELECT CAST(NULL AS TIMESTAMP) AS validation_from, CAST(NULL AS TIMESTAMP) AS test_from;
