-- The queries of a period for which the engine returned nothing, and those for which it showed results that nobody clicked: the
-- most frequent of each, with their searches. Empty for a log that holds no result without a click: it does not tell them apart.
WITH shown AS (SELECT search_row, bool_or(clicked) AS clicked FROM results GROUP BY search_row),
by_query AS (
    SELECT
        query_row,
        count(*) AS searches,
        count(*) FILTER (shown.search_row IS NULL) AS without_results,
        count(*) FILTER (clicked) AS clicked
    FROM searches LEFT JOIN shown USING (search_row)
    WHERE split = $split AND EXISTS (FROM results WHERE NOT clicked)
    GROUP BY query_row
),
unanswered AS (
    SELECT 'nothing returned' AS outcome, query_row, without_results AS failed, searches FROM by_query WHERE without_results > 0
    UNION ALL
    SELECT 'never clicked', query_row, searches - without_results, searches FROM by_query
    WHERE clicked = 0 AND searches > without_results
)
SELECT outcome, query, failed::BIGINT AS failed, searches::BIGINT AS searches
FROM unanswered JOIN queries USING (query_row)
QUALIFY row_number() OVER (PARTITION BY outcome ORDER BY failed DESC, md5(query)) <= $most
ORDER BY outcome DESC, failed DESC, md5(query)
