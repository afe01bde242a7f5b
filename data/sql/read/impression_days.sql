-- Days on which a search begins: a row that follows another of the same search_id, or of the same searcher (or session) and query within
-- half an hour, begins none, so a purchase after midnight makes no day.
WITH keyed AS (
    SELECT $time AS time, search_id, coalesce(search_id, 'u' || searcher_id, 's' || session_id) AS who,
        CASE WHEN search_id IS NULL THEN lower(trimmed(query)) END AS form
    FROM read_parquet($rows)
    WHERE $identity IS NOT NULL AND $time BETWEEN TIMESTAMP '1970-01-02' AND TIMESTAMP '2100-01-01'
),
begun AS (
    SELECT time, coalesce(time - lag(time) OVER (PARTITION BY who, form ORDER BY time) <= INTERVAL 30 MINUTE, false) AND who IS NOT NULL AS follows,
        search_id IS NOT NULL AND row_number() OVER (PARTITION BY who, form ORDER BY time) > 1 AS is_later
    FROM keyed
)
SELECT CAST(time AS DATE) AS day, count(*) AS searches FROM begun WHERE NOT follows AND NOT is_later GROUP BY day ORDER BY day
