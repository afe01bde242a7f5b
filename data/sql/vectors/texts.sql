SELECT DISTINCT query FROM "read_$table" WHERE query IS NOT NULL
