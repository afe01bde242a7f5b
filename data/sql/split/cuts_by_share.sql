-- The cuts, at session starts, whose parts come nearest to the configured shares; of two equally near, the later.
CREATE TABLE cuts AS
WITH starts AS (
    SELECT started_at, count(*) AS searches FROM sessions GROUP BY started_at
),
shares AS (
    SELECT started_at, row_number() OVER (ORDER BY started_at) AS place,
        (total - sum(searches) OVER (ORDER BY started_at) + searches) / total AS share
    FROM starts, (SELECT count(*) AS total FROM sessions)
),
test AS (
    SELECT started_at, share FROM shares
    WHERE place >= 3
    ORDER BY abs(share - getvariable('test')), started_at DESC
    LIMIT 1
),
validation AS (
    SELECT shares.started_at FROM shares, test
    WHERE place >= 2 AND shares.started_at < test.started_at
    ORDER BY abs(shares.share - test.share - getvariable('validation')), shares.started_at DESC
    LIMIT 1
)
SELECT (SELECT started_at FROM validation) AS validation_from, (SELECT started_at FROM test) AS test_from;
