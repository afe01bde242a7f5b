SELECT query_row, CASE WHEN is_blank_query(query) THEN '' ELSE query END AS query FROM numbered_queries ORDER BY query_row
