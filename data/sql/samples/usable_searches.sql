-- A session that runs on past a cut belongs to its own part, but what it did after the cut is of nobody's use: training must not
-- see the validation's time, nor validation the test's. Splits that are not of time, in which sessions of training begin after
-- others of the test, lose nothing.
CREATE OR REPLACE TEMP TABLE cuts AS
WITH starts AS (
    SELECT session_row, any_value(split) AS split, min(searched_at) AS started_at FROM every_search GROUP BY session_row
)
SELECT
    min(started_at) FILTER (WHERE split = 'validation') AS validation_from,
    min(started_at) FILTER (WHERE split = 'test') AS test_from,
    max(started_at) FILTER (WHERE split = 'train') < min(started_at) FILTER (WHERE split IN ('validation', 'test')) AS timed
FROM starts;
CREATE OR REPLACE TEMP VIEW usable AS
SELECT every_search.*
FROM every_search, cuts
WHERE NOT coalesce(
    timed AND (
        (split = 'train' AND searched_at >= least(validation_from, test_from))
        OR (split = 'validation' AND searched_at >= test_from)
    ),
    false
);
CREATE OR REPLACE TEMP VIEW searches AS FROM usable
