-- The clicks of each session and searcher on a document in the training window.
SELECT session_row, document_row, searcher_row, count(*) AS clicks
FROM results JOIN searches USING (search_row)
WHERE split = 'train' AND clicked AND searcher_row IS NOT NULL
GROUP BY session_row, document_row, searcher_row
ORDER BY session_row, document_row, searcher_row
