-- What each searcher clicks, or finds judged well, and the training window does not know: `owner` is the searcher or, for a search
-- without one, -1 - its row.
WITH training AS (SELECT search_row FROM searches WHERE split = 'train'),
found AS (
    SELECT search_row, document_row FROM every_result WHERE clicked AND search_row NOT IN (FROM training)
    UNION ALL
    SELECT search_row, document_row FROM judgements WHERE grade > 0 AND search_row NOT IN (FROM training)
    UNION ALL
    SELECT search_row, document_row
    FROM every_result ANTI JOIN (FROM results WHERE clicked) AS known USING (search_row, document_row)
    WHERE every_result.clicked
)
SELECT DISTINCT coalesce(searcher_row, -1 - search_row)::BIGINT AS owner, document_row
FROM found JOIN every_search USING (search_row)
ORDER BY owner, document_row
