-- The sampled searches with the columns that their slices need. Seen means: in the training window. misspelt and attempt are known for
-- simulated worlds alone; in other logs a search counts as misspelt if one of its words does not occur in the training window but is
-- near to a word that does.
SELECT
    search_row, search_id, query_row, searcher_row, session_row,
    query_row IN (SELECT query_row FROM searches WHERE split = 'train') AS query_seen,
    EXISTS (
        FROM searches AS earlier
        WHERE earlier.split = 'train' AND earlier.query_row = searches.query_row
            AND earlier.searcher_row IS NOT DISTINCT FROM searches.searcher_row
    ) AS pair_seen,
    coalesce(told.misspelt, query_row IN (SELECT query_row FROM near_known)) AS misspelt,
    query_row IN (SELECT query_row FROM near_known) AS looks_misspelt, told.attempt
FROM searches LEFT JOIN (SELECT DISTINCT search_id, misspelt, attempt FROM truth) AS told USING (search_id)
WHERE search_row IN (SELECT search_row FROM targets)
ORDER BY search_row
