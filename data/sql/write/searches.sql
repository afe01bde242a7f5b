SELECT search_row, search_id, searched_at, query_row, searcher_row, session_row, parts.split,
    city, region, country, language
FROM numbered_searches
JOIN parts USING (search_row)
JOIN numbered_queries USING (query)
LEFT JOIN numbered_searchers USING (searcher_id)
ORDER BY search_row
