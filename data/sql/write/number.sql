-- Searches without a query are no repetitions of each other: they count as a query of their searcher.
UPDATE numbered_searches SET query = blank_query(coalesce(searcher_id, search_id)) WHERE query = '';
DELETE FROM query_forms WHERE query = '';
INSERT INTO query_forms SELECT DISTINCT query, query FROM numbered_searches WHERE is_blank_query(query);

-- Texts that towers read alike are one query, which is written as the first of them.
CREATE TABLE numbered_queries AS
SELECT CAST(row_number() OVER (ORDER BY min(query)) - 1 AS INTEGER) AS query_row, form, min(query) AS query
FROM query_forms
GROUP BY form;
