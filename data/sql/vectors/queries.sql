-- The vector of each query of the log whose text, folded, is in the file.
SELECT query_row AS row, min(given.query) AS id, arg_min($column, given.query) AS vector, min($column) <> max($column) AS differs
FROM "read_$table" AS given
JOIN given_forms ON given_forms.query = given.query
JOIN log_forms USING (form)
JOIN read_parquet($log) AS known ON known.query = log_forms.query
WHERE $column IS NOT NULL
GROUP BY query_row
ORDER BY row
