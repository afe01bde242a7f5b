-- The clicks of signed-in searchers, in order of searcher and time: those of the training window or, with $latest, those of all parts.
SELECT searcher_row, document_row, searched_at
FROM results JOIN every_search USING (search_row)
WHERE clicked AND searcher_row IS NOT NULL
    AND ($latest OR search_row IN (SELECT search_row FROM searches WHERE split = 'train'))
ORDER BY searcher_row, searched_at, search_row, document_row
