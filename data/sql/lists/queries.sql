SELECT query FROM queries
