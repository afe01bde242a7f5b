-- The share of searches (rows of the same time, query and searcher) in which a column has several values.
SELECT coalesce(avg(CASE WHEN different > 1 THEN 1.0 ELSE 0.0 END), 0)
FROM (SELECT count(DISTINCT $column) AS different FROM "$table" GROUP BY $keys HAVING count(*) > 1)
