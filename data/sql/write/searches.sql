SELECT search_row, search_id, searched_at, query_row, searcher_row, session_row, parts.split,
    city, region, country, language
FROM numbered_searches
JOIN parts USING (search_row)
JOIN query_forms USING (query)
JOIN numbered_queries USING (form)
LEFT JOIN numbered_searchers USING (searcher_id)
ORDER BY search_row
