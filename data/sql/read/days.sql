SELECT CAST($time AS DATE) AS day, count(*) AS searches
FROM read_parquet($rows)
WHERE $identity IS NOT NULL AND $time BETWEEN TIMESTAMP '1970-01-02' AND TIMESTAMP '2100-01-01'
GROUP BY day
ORDER BY day
