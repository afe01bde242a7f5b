-- The number of searches and of clicked searches of each part.
SELECT split, count(*) AS searches, count(*) FILTER (WHERE clicks > 0) AS clicked_searches
FROM parts
LEFT JOIN result_lists USING (search_row)
GROUP BY split
