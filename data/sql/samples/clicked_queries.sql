-- The query texts of the training window that led to a click on a document.
SELECT DISTINCT document_row, query_row
FROM results JOIN searches USING (search_row)
WHERE split = 'train' AND clicked
ORDER BY document_row, query_row
