-- Of the documents that some searches list (the table given), those that the searcher or, without one, the search itself clicks in
-- another part than training may use ($parts).
WITH later AS (
    SELECT DISTINCT coalesce(searcher_row, -1 - search_row) AS owner, document_row
    FROM every_search JOIN results USING (search_row)
    WHERE clicked AND NOT list_contains($parts::VARCHAR[], split)
)
SELECT count(*)::BIGINT AS looked_at, count(later.owner)::BIGINT AS broken
FROM given
JOIN every_search AS search USING (search_row)
LEFT JOIN later ON later.document_row = given.document_row AND later.owner = coalesce(search.searcher_row, -1 - given.search_row)
