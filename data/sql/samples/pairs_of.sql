-- What a relevance filter reads of the pairs `asked` beside words and vectors; an own click of the search is not told.
WITH clicks AS (
    SELECT document_row, count(*) AS clicks
    FROM results JOIN searches USING (search_row) WHERE split = 'train' AND clicked GROUP BY document_row
)
SELECT
    ln(1 + coalesce(clicks, 0) - own)::FLOAT AS popularity,
    (documents.city = searches.city)::FLOAT AS city,
    (documents.region = searches.region)::FLOAT AS region,
    (documents.country = searches.country)::FLOAT AS country,
    (documents.language = searches.language)::FLOAT AS language,
    (epoch_us(searched_at) - epoch_us(created_at))::FLOAT / 86400e6 AS age
FROM asked JOIN searches USING (search_row) JOIN documents USING (document_row) LEFT JOIN clicks USING (document_row)
ORDER BY place
