-- With $exclude, what the searchers of a part clicked before its first search: no candidates of theirs. Without it, nothing.
SELECT DISTINCT searcher_row, document_row
FROM results JOIN every_search USING (search_row)
WHERE $exclude AND clicked
    AND searcher_row IN (SELECT searcher_row FROM searches WHERE split = $split)
    AND searched_at < (SELECT min(searched_at) FROM searches WHERE split = $split)
ORDER BY searcher_row, document_row
