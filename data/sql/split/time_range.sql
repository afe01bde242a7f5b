SELECT min(searched_at), max(searched_at) FROM numbered_searches
