-- The documents that existed in the training window: the only ones that training may use.
SELECT document_row
FROM documents, (SELECT max(searched_at) AS last_at FROM searches WHERE split = 'train')
WHERE created_at IS NULL OR created_at <= last_at
ORDER BY document_row
