-- For each part, the clicks, those on documents that were alive at some time in it, those on documents that did not exist at the time
-- of the search, and one of the last with the times.
CREATE TABLE contradictions AS
WITH periods AS (
    SELECT parts.split, min(searched_at) AS first_at, max(searched_at) AS last_at
    FROM parts
    JOIN numbered_searches USING (search_row)
    GROUP BY parts.split
)
SELECT periods.split, count(*) AS clicks,
    count(*) FILTER (
        WHERE (created_at IS NULL OR created_at <= last_at) AND (removed_at IS NULL OR removed_at > first_at)
    ) AS alive,
    count(*) FILTER (WHERE created_at > searched_at OR removed_at <= searched_at) AS contradicting,
    min({document: document_id, searched_at: searched_at, created_at: created_at, removed_at: removed_at})
        FILTER (WHERE created_at > searched_at OR removed_at <= searched_at) AS example
FROM merged_results
JOIN parts USING (search_row)
JOIN numbered_searches USING (search_row)
JOIN periods ON periods.split = parts.split
JOIN numbered_documents USING (document_row)
WHERE clicked
GROUP BY periods.split
