-- The documents that were shown or judged for the queries of the sampled searches, anywhere in the log up to the end of the part.
WITH asked AS (
    SELECT search_row, query_row
    FROM every_search
    WHERE query_row IN (SELECT query_row FROM searches WHERE search_row IN (SELECT search_row FROM targets))
        AND searched_at <= (SELECT max(searched_at) FROM searches WHERE split = $split)
)
SELECT DISTINCT query_row, document_row
FROM (
    SELECT search_row, document_row FROM results UNION ALL SELECT search_row, document_row FROM judgements
) JOIN asked USING (search_row)
ORDER BY query_row, document_row
