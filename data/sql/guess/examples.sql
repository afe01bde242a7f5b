-- Some different values of a column, cut if they are long.
SELECT DISTINCT left(CAST($column AS VARCHAR), 60) AS example FROM "$table" WHERE $column IS NOT NULL ORDER BY example LIMIT 2
