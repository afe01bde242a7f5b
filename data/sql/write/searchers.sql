SELECT searcher_row, searcher_id FROM numbered_searchers ORDER BY searcher_row
