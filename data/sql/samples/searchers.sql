-- All searchers with the place and language of their latest search.
SELECT
    searcher_id,
    arg_max(city, (searched_at, search_row)) AS city,
    arg_max(region, (searched_at, search_row)) AS region,
    arg_max(country, (searched_at, search_row)) AS country,
    arg_max(language, (searched_at, search_row)) AS language
FROM every_search JOIN searchers USING (searcher_row)
GROUP BY searcher_id
ORDER BY searcher_id
