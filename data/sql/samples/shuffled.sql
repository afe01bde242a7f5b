-- The lists shown in random order before the test, counted by position and list length.
WITH lists AS (
    SELECT search_row, max(position) AS length
    FROM results SEMI JOIN (SELECT search_row FROM searches WHERE split IN ('train', 'validation')) USING (search_row)
    GROUP BY search_row
    HAVING bool_and(coalesce(randomised, false) AND position IS NOT NULL)
)
SELECT position::BIGINT AS position, length::BIGINT AS length, count(*)::BIGINT AS shown, count(*) FILTER (WHERE clicked)::BIGINT AS clicked
FROM results JOIN lists USING (search_row)
GROUP BY ALL
ORDER BY ALL
