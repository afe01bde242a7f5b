-- The documents alive at some time in the period: what an evaluation retrieves from.
SELECT document_row
FROM documents, (SELECT min(searched_at) AS first_at, max(searched_at) AS last_at FROM searches WHERE split = $split)
WHERE (created_at IS NULL OR created_at <= last_at) AND (removed_at IS NULL OR removed_at > first_at)
ORDER BY document_row
