-- The vector of each query of the log that has one: that of its first search with a vector.
WITH given AS (
    SELECT $identity AS given_id, min($column) AS vector
    FROM "read_$table"
    WHERE $column IS NOT NULL
    GROUP BY ALL
)
SELECT query_row AS row, arg_min(given_id, search_row) AS id, arg_min(vector, search_row) AS vector, min(vector) <> max(vector) AS differs
FROM given JOIN read_parquet($log) ON given_id = search_id
GROUP BY query_row
ORDER BY row
