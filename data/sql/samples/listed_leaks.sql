-- Of the documents that some searches list (the table given), those that the searcher or, without one, the search itself clicks in
-- another part than training may use ($parts), or after the cut.
WITH cut AS (
    SELECT min(searched_at) FILTER (WHERE NOT list_contains($parts::VARCHAR[], split)) AS cut_at FROM every_search
),
later AS (
    SELECT DISTINCT coalesce(searcher_row, -1 - search_row) AS owner, document_row
    FROM every_search JOIN every_result USING (search_row), cut
    WHERE clicked AND (NOT list_contains($parts::VARCHAR[], split) OR coalesce(acted_at >= cut_at, false))
)
SELECT count(*)::BIGINT AS looked_at, count(later.owner)::BIGINT AS broken
FROM given
JOIN every_search AS search USING (search_row)
LEFT JOIN later ON later.document_row = given.document_row AND later.owner = coalesce(search.searcher_row, -1 - given.search_row)
