-- With $exclude, what the searchers of a part clicked before its first search: no candidates of theirs. Without it, nothing.
SELECT DISTINCT searcher_row, document_row
FROM every_result JOIN every_search USING (search_row)
WHERE $exclude AND clicked
    AND searcher_row IN (SELECT searcher_row FROM searches WHERE split = $split)
    AND coalesce(acted_at, searched_at) < (SELECT min(searched_at) FROM searches WHERE split = $split)
ORDER BY searcher_row, document_row
