-- The number of clicks of each document in the training window, without documents that have none.
SELECT document_row, count(*) AS clicks
FROM results JOIN searches USING (search_row)
WHERE split = 'train' AND clicked
GROUP BY document_row
ORDER BY document_row
