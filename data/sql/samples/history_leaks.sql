-- Of the documents in the histories of some searches (the table given), those that the searcher had not clicked strictly before the
-- search, in a part that training may use ($parts) and before the cut.
WITH cut AS (
    SELECT min(searched_at) FILTER (WHERE NOT list_contains($parts::VARCHAR[], split)) AS cut_at FROM every_search
),
earlier AS (
    SELECT searcher_row, document_row, min(coalesce(acted_at, searched_at)) AS first_at
    FROM every_search JOIN every_result USING (search_row), cut
    WHERE clicked AND list_contains($parts::VARCHAR[], split) AND coalesce(coalesce(acted_at, searched_at) < cut_at, true)
    GROUP BY searcher_row, document_row
)
SELECT count(*)::BIGINT AS looked_at, (count(*) FILTER (WHERE first_at IS NULL OR first_at >= searched_at))::BIGINT AS broken
FROM given JOIN every_search USING (search_row) LEFT JOIN earlier USING (searcher_row, document_row)
