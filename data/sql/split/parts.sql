-- The number of searches and of clicked searches of each part.
SELECT split, count(*) AS searches, count(*) FILTER (WHERE clicked) AS clicked_searches
FROM parts
LEFT JOIN (SELECT search_row, bool_or(clicked) AS clicked FROM merged_results GROUP BY search_row) USING (search_row)
GROUP BY split
