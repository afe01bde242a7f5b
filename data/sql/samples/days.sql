-- The figures of each day, computed from data up to that day, without later clicks: a document is new on the day on which it is first shown, a query is
-- unseen on the day on which it is first searched.
WITH dated AS (
    SELECT search_row, query_row, searcher_row, city, country, language, CAST(searched_at AS DATE) AS day FROM every_search
),
shown AS (
    SELECT search_row, document_row, clicked AND coalesce(CAST(acted_at AS DATE) = day, true) AS clicked, position, day
    FROM every_result JOIN dated USING (search_row)
),
first_shown AS (SELECT document_row, min(day) AS first_day FROM shown GROUP BY document_row),
first_asked AS (SELECT query_row, min(day) AS first_day FROM dated GROUP BY query_row),
of_results AS (
    SELECT day, avg(CAST(day = first_day AS INTEGER)) AS new_documents,
        avg(CAST(position IS NULL AS INTEGER)) AS null_position
    FROM shown JOIN first_shown USING (document_row)
    GROUP BY day
),
clicks AS (SELECT search_row, bool_or(clicked) AS clicked FROM shown GROUP BY search_row)
SELECT day, count(*) AS searches,
    avg(CAST(coalesce(clicked, false) AS INTEGER)) AS click_rate,
    any_value(new_documents) AS new_documents,
    avg(CAST(day = first_day AS INTEGER)) AS unseen_queries,
    avg(CAST(searcher_row IS NULL AS INTEGER)) AS null_searcher,
    avg(CAST(city IS NULL AS INTEGER)) AS null_city,
    avg(CAST(country IS NULL AS INTEGER)) AS null_country,
    avg(CAST(language IS NULL AS INTEGER)) AS null_language,
    any_value(null_position) AS null_position
FROM dated
JOIN first_asked USING (query_row)
LEFT JOIN clicks USING (search_row)
LEFT JOIN of_results USING (day)
GROUP BY day
ORDER BY day
