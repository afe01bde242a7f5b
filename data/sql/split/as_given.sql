-- Without a validation part, a tenth of the training queries is held out by a hash of the text, so that a text is never in both.
CREATE TABLE parts AS
WITH queries AS (
    SELECT query, row_number() OVER (ORDER BY md5(query), query) AS place, count(*) OVER () AS total
    FROM (SELECT DISTINCT query FROM numbered_searches WHERE split = 'train')
),
held_out AS (
    SELECT query FROM queries
    WHERE place <= greatest(1, round(total / 10))
        AND NOT EXISTS (FROM numbered_searches WHERE split = 'validation')
)
SELECT search_row, session_row,
    CASE WHEN split = 'train' AND query IN (FROM held_out) THEN 'validation' ELSE split END AS split
FROM numbered_searches
JOIN sessions USING (search_row);

CREATE TABLE cuts AS SELECT CAST(NULL AS TIMESTAMP) AS validation_from, CAST(NULL AS TIMESTAMP) AS test_from;
