SELECT DISTINCT filled(query) AS query FROM "read_$table" WHERE search_id IS NULL AND filled(query) IS NOT NULL
