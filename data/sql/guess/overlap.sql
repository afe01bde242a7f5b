-- The share of a log's different values that are values of the catalogue. 1003.0 is the identity 1003, as for the reader.
WITH known AS (SELECT id_from_text(CAST($catalogue_column AS VARCHAR)) AS id FROM "$catalogue")
SELECT count(*) FILTER (WHERE id IN (SELECT id FROM known WHERE id IS NOT NULL)) / nullif(count(*), 0)
FROM (SELECT DISTINCT id_from_text(CAST($column AS VARCHAR)) AS id FROM "$table" WHERE $column IS NOT NULL LIMIT 10000)
