-- The documents alive at some time in the period, from which an evaluation retrieves, with their clicks in the training window.
SELECT document_row, coalesce(clicks, 0)::BIGINT AS clicks
FROM documents
CROSS JOIN (SELECT min(searched_at) AS first_at, max(searched_at) AS last_at FROM searches WHERE split = $split)
LEFT JOIN (
    SELECT document_row, count(*) AS clicks
    FROM results SEMI JOIN (SELECT search_row FROM searches WHERE split = 'train') USING (search_row)
    WHERE clicked
    GROUP BY document_row
) USING (document_row)
WHERE (created_at IS NULL OR created_at <= last_at) AND (removed_at IS NULL OR removed_at > first_at)
ORDER BY document_row
