-- The files in groups whose columns of these names (in lower case) have the same types.
WITH typed AS (
    SELECT file_name,
        list(DISTINCT lower(name) || ' ' || duckdb_type ORDER BY lower(name) || ' ' || duckdb_type)
            FILTER (WHERE list_contains(CAST(? AS VARCHAR[]), lower(name))) AS types
    FROM parquet_schema($files)
    GROUP BY file_name
)
SELECT list(file_name ORDER BY file_name) AS files
FROM typed
GROUP BY types
ORDER BY types
