-- Every search with its searcher, its time, the first time of its session, and whether it belongs to training.
SELECT coalesce(searcher_row, -1)::INTEGER AS searcher_row, searched_at,
    min(searched_at) OVER (PARTITION BY session_row) AS session_from, split = 'train' AS training
FROM every_search
ORDER BY search_row
