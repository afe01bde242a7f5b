-- The clicks of signed-in searchers, in order of searcher and time: those that the training window knows or, with $latest, those of all
-- parts.
SELECT searcher_row, document_row, coalesce(acted_at, searched_at) AS clicked_at
FROM (
    FROM every_result WHERE $latest
    UNION ALL
    FROM results WHERE NOT $latest AND search_row IN (SELECT search_row FROM searches WHERE split = 'train')
)
JOIN every_search USING (search_row)
WHERE clicked AND searcher_row IS NOT NULL
ORDER BY searcher_row, clicked_at, search_row, document_row
