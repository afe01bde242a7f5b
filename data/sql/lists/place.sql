-- The documents alive in the order of their ranks, places from 1 without gaps; equal ranks, which only a log has, in the order of rows.
CREATE TEMP TABLE placed AS
SELECT search_row, document_row, row_number() OVER (PARTITION BY search_row ORDER BY rank, document_row) AS place
FROM listed SEMI JOIN candidates USING (document_row)
WHERE rank IS NOT NULL
