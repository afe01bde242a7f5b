-- A session that runs on past a cut belongs to its own part, but what it did after the cut is of nobody's use: training must not
-- see the validation's time, nor validation the test's. Splits that are not of time have one instant for all, and lose nothing.
CREATE OR REPLACE VIEW searches AS
WITH cuts AS (
    SELECT
        min(searched_at) AS first_at,
        min(searched_at) FILTER (WHERE split = 'validation') AS validation_from,
        min(searched_at) FILTER (WHERE split = 'test') AS test_from
    FROM every_search
)
SELECT every_search.*
FROM every_search, cuts
WHERE NOT coalesce(
    (split = 'train' AND first_at < least(validation_from, test_from) AND searched_at >= least(validation_from, test_from))
    OR (split = 'validation' AND first_at < test_from AND searched_at >= test_from),
    false
)
