-- An end as one number: its row, and a last bit that is 1 for a searcher. Two of them are compared at once, and document comes before searcher.
WITH ended AS (
    SELECT 2 * CAST(coalesce(source.searcher_row, source_row) AS BIGINT) + CAST(source_searches AS INTEGER) AS source,
        2 * CAST(coalesce(target.searcher_row, target_row) AS BIGINT) + CAST(target_searches AS INTEGER) AS target,
        kind, coalesce(weight, 1) AS weight, created_at
    FROM checked_edges
    LEFT JOIN numbered_searchers AS source ON source.number = CASE WHEN source_searches THEN source_row END
    LEFT JOIN numbered_searchers AS target ON target.number = CASE WHEN target_searches THEN target_row END
    WHERE reason IS NULL
),
ordered AS (
    SELECT (source << 32) + target AS ends, kind, weight, created_at FROM ended ORDER BY ends, kind, weight, created_at
)
SELECT CAST(ends >> 33 AS INTEGER) AS source_row, CASE WHEN (ends >> 32) & 1 = 1 THEN 'searcher' ELSE 'document' END AS source_type,
    CAST((ends >> 1) & 2147483647 AS INTEGER) AS target_row, CASE WHEN ends & 1 = 1 THEN 'searcher' ELSE 'document' END AS target_type,
    kind, weight, created_at
FROM ordered
