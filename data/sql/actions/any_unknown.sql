SELECT count(*) FROM (SELECT 1 FROM "read_$table" WHERE unknown_then($time) LIMIT 1)
