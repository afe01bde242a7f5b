-- What each searcher clicks, or finds judged well, after the training window: `owner` is the searcher or, for a search without one,
-- -1 - its row.
WITH found AS (
    SELECT search_row, document_row FROM results WHERE clicked
    UNION ALL
    SELECT search_row, document_row FROM judgements WHERE grade > 0
)
SELECT DISTINCT coalesce(searcher_row, -1 - search_row)::BIGINT AS owner, document_row
FROM found JOIN every_search USING (search_row)
WHERE search_row NOT IN (SELECT search_row FROM searches WHERE split = 'train')
ORDER BY owner, document_row
