SELECT count(*) FROM (SELECT 1 FROM read_searches WHERE searched_at IS NOT NULL LIMIT 1)
