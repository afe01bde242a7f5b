-- The most frequent values of a column with their numbers of rows; blank ones count as null.
SELECT trim(CAST($column AS VARCHAR)) AS value, count(*) AS rows
FROM "$table"
WHERE nullif(trim(CAST($column AS VARCHAR)), '') IS NOT NULL
GROUP BY value
ORDER BY rows DESC, value
LIMIT 100
