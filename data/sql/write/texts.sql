SELECT DISTINCT query FROM numbered_searches
