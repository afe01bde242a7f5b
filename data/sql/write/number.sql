-- Texts that towers read alike are one query, which is written as the first of them.
CREATE TABLE numbered_queries AS
SELECT CAST(row_number() OVER (ORDER BY min(query)) - 1 AS INTEGER) AS query_row, form, min(query) AS query
FROM query_forms
GROUP BY form;
