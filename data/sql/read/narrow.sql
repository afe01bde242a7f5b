-- Replacements for the raw tables if the log ends earlier, or days are left out: a temporary view takes precedence over the table
-- or view of the same name.
CREATE TEMP TABLE narrowed AS
SELECT DISTINCT search_id, coalesce(
    searched_at >= CAST(getvariable('until') AS TIMESTAMP), false
) OR coalesce(list_contains(CAST(getvariable('without') AS DATE[]), CAST(searched_at AS DATE)), false) AS hidden
FROM memory.main.raw_searches;

-- Plain comparisons, so that DuckDB can skip whole row groups of Parquet.
CREATE TEMP VIEW raw_searches AS
SELECT * FROM memory.main.raw_searches
WHERE (searched_at < coalesce(CAST(getvariable('until') AS TIMESTAMP), TIMESTAMP 'infinity') OR searched_at IS NULL)
    AND NOT coalesce(list_contains(CAST(getvariable('without') AS DATE[]), CAST(searched_at AS DATE)), false);

CREATE TEMP VIEW raw_results AS
SELECT * FROM memory.main.raw_results
WHERE search_id IS NULL
    OR search_id NOT IN (
        SELECT search_id FROM narrowed WHERE search_id IS NOT NULL GROUP BY search_id HAVING bool_and(hidden)
    );
