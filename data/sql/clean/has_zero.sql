SELECT count(*) FROM (SELECT 1 FROM checked_results WHERE position = 0 LIMIT 1)
