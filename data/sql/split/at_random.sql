-- For an audit alone: sessions at random, by a hash of their first search. Training then sees the future.
CREATE TABLE parts AS
WITH placed AS (
    SELECT session_row, row_number() OVER (ORDER BY md5(first_id), first_id) / count(*) OVER () AS place
    FROM (
        SELECT session_row, arg_min(search_id, search_row) AS first_id
        FROM sessions JOIN numbered_searches USING (search_row)
        GROUP BY session_row
    )
)
SELECT search_row, session_row, CASE
    WHEN place <= getvariable('test') THEN 'test'
    WHEN place <= getvariable('test') + getvariable('validation') THEN 'validation'
    ELSE 'train'
END AS split
FROM sessions JOIN placed USING (session_row);

CREATE TABLE cuts AS SELECT CAST(NULL AS TIMESTAMP) AS validation_from, CAST(NULL AS TIMESTAMP) AS test_from;
