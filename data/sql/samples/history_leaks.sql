-- Of the documents in the histories of some searches (the table given), those that the searcher had not clicked strictly before the
-- search, or not in a part that training may use ($parts).
SELECT count(*)::BIGINT AS looked_at, (count(*) FILTER (WHERE NOT EXISTS (
    FROM every_search AS earlier JOIN results USING (search_row)
    WHERE clicked AND results.document_row = given.document_row AND earlier.searcher_row = search.searcher_row
        AND earlier.searched_at < search.searched_at AND list_contains($parts::VARCHAR[], earlier.split)
)))::BIGINT AS broken
FROM given JOIN every_search AS search USING (search_row)
