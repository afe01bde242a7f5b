SELECT CAST(searched_at AS DATE) AS day, count(*) AS searches
FROM raw_searches
WHERE search_id IS NOT NULL AND searched_at BETWEEN TIMESTAMP '1970-01-01' AND TIMESTAMP '2100-01-01'
GROUP BY day
ORDER BY day
