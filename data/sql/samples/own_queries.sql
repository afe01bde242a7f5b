-- The query texts of the training window that led to a click on a document in one session alone.
SELECT any_value(session_row) AS session_row, document_row, query_row
FROM results JOIN searches USING (search_row)
WHERE split = 'train' AND clicked
GROUP BY document_row, query_row
HAVING count(DISTINCT session_row) = 1
ORDER BY session_row, document_row, query_row
