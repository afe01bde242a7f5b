CREATE TABLE numbered_queries AS
SELECT CAST(row_number() OVER (ORDER BY query) - 1 AS INTEGER) AS query_row, query
FROM (SELECT DISTINCT query FROM numbered_searches);
