-- The share of a log's different values that are values of the catalogue.
SELECT count(*) FILTER (WHERE id IN (SELECT CAST($catalogue_column AS VARCHAR) FROM "$catalogue")) / nullif(count(*), 0)
FROM (SELECT DISTINCT CAST($column AS VARCHAR) AS id FROM "$table" WHERE $column IS NOT NULL LIMIT 10000)
