SELECT query_row, query FROM numbered_queries ORDER BY query_row
