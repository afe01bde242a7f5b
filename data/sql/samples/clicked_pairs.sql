-- Who clicked what in the training window, and how often.
SELECT searcher_row, document_row, count(*)::REAL AS clicks
FROM results JOIN searches USING (search_row)
WHERE split = 'train' AND clicked AND searcher_row IS NOT NULL
GROUP BY searcher_row, document_row
ORDER BY searcher_row, document_row
