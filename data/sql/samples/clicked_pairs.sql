-- The searchers and the documents that they clicked in the training window, with the number of clicks.
SELECT searcher_row, document_row, count(*)::REAL AS clicks
FROM results JOIN searches USING (search_row)
WHERE split = 'train' AND clicked AND searcher_row IS NOT NULL
GROUP BY searcher_row, document_row
ORDER BY searcher_row, document_row
