-- Checks the rows that training uses against the cut, by the raw tables: one row for each rule, with the number of rows checked and the
-- number that break the rule. $parts: the parts of the split that training may use. The cut is the first search of validation or test
-- outside them; if searches have no time, only the split counts. given_actions has rows only if actions have times.
WITH cut AS (
    SELECT min(searched_at) FILTER (WHERE split IN ('validation', 'test') AND NOT list_contains($parts::VARCHAR[], split)) AS cut_at,
        count(DISTINCT searched_at) > 1 AS timed
    FROM every_search
),
used AS (
    SELECT session_row, CASE WHEN list_contains($parts::VARCHAR[], split) THEN 'train' ELSE split END AS split FROM searches
)
SELECT 'labels' AS what, count(*)::BIGINT AS looked_at,
    (count(*) FILTER (WHERE NOT list_contains($parts::VARCHAR[], split) OR (timed AND searched_at >= cut_at)))::BIGINT AS broken
FROM (SELECT DISTINCT search_row FROM given_searches) JOIN every_search USING (search_row), cut
UNION ALL
SELECT 'actions', count(*), count(*) FILTER (WHERE weight > coalesce(known_weight::REAL, 0))
FROM given_actions LEFT JOIN (
    SELECT search_row, document_row, max(weight) FILTER (
        WHERE NOT timed OR coalesce(acted_at < cut_at AND coalesce(list_contains($parts::VARCHAR[], acted_in), true), true)
    ) AS known_weight
    FROM every_action, cut GROUP BY search_row, document_row
) USING (search_row, document_row)
WHERE weight > 0
HAVING count(*) > 0
UNION ALL
SELECT 'documents', count(*), count(*) FILTER (WHERE timed AND created_at >= cut_at)
FROM (SELECT DISTINCT document_row FROM given_documents) JOIN documents USING (document_row), cut
UNION ALL
SELECT 'queries', count(*), count(*) FILTER (WHERE first_at IS NULL OR (timed AND first_at >= cut_at))
FROM (SELECT DISTINCT query_row FROM given_queries) LEFT JOIN (
    SELECT query_row, min(searched_at) AS first_at FROM every_search WHERE list_contains($parts::VARCHAR[], split) GROUP BY query_row
) USING (query_row), cut
UNION ALL
SELECT 'sessions', count(*), count(*) FILTER (WHERE parts > 1)
FROM (SELECT session_row, count(DISTINCT split) AS parts FROM used GROUP BY session_row)
UNION ALL
SELECT 'edges', count(*), greatest(
    0, count(*) FILTER (WHERE NOT undated) - (SELECT count(*) FROM edges, cut WHERE created_at < cut_at OR NOT timed)
)
FROM given_edges
HAVING count(*) > 0
ORDER BY what
