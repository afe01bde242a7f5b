-- For each part, the number of clicks, and of clicks on documents that were alive at some time in it.
WITH periods AS (
    SELECT parts.split, min(searched_at) AS first_at, max(searched_at) AS last_at
    FROM parts
    JOIN numbered_searches USING (search_row)
    GROUP BY parts.split
)
SELECT periods.split, count(*) AS clicks,
    count(*) FILTER (
        WHERE (created_at IS NULL OR created_at <= last_at) AND (removed_at IS NULL OR removed_at > first_at)
    ) AS alive
FROM merged_results
JOIN parts USING (search_row)
JOIN periods ON periods.split = parts.split
JOIN numbered_documents USING (document_row)
JOIN checked_documents USING (document_id)
WHERE clicked AND reason IS NULL
GROUP BY periods.split
ORDER BY periods.split
