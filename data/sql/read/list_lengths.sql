-- The most values that one of the first rows has, by column.
SELECT $most FROM (SELECT $columns FROM read_$table LIMIT 1000)
