-- Every result of the training window with its query and searcher.
SELECT search_row, document_row, clicked, query_row, coalesce(searcher_row, -1)::INTEGER AS searcher_row
FROM results JOIN searches USING (search_row)
WHERE split = 'train'
ORDER BY search_row, document_row
