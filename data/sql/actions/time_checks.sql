-- For each part, the actions with a time, those later than their search, those before it, those more than ten minutes before it with the
-- first of them, and those from the next part on.
WITH placed AS (
    SELECT parts.split, search_id, document_id, searched_at, acted_at,
        searched_at - acted_at > INTERVAL 10 MINUTE AS is_early,
        acted_at >= known_until AS is_after
    FROM timed_actions
    JOIN parts USING (search_row)
    JOIN numbered_searches USING (search_row)
    JOIN numbered_documents USING (document_row)
    LEFT JOIN part_ends ON part_ends.split = parts.split
)
SELECT split, count(*) AS actions,
    count(*) FILTER (WHERE acted_at > searched_at) AS later,
    count(*) FILTER (WHERE acted_at < searched_at) AS before,
    count(*) FILTER (WHERE is_early) AS early,
    count(*) FILTER (WHERE is_after) AS after,
    min({search: search_id, document: document_id, searched_at: searched_at, acted_at: acted_at}) FILTER (WHERE is_early) AS example
FROM placed
GROUP BY split
ORDER BY split
