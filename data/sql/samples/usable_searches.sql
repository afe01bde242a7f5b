-- A session that continues after a cut belongs to its own part, but its searches after the cut are left out: training must not see the
-- validation period, nor validation the test period. Splits that are not by time, in which training sessions begin after test
-- sessions, keep all searches.
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
