-- The vector of each document of the log that has one. If rows repeat a document, the smallest counts.
WITH given AS (
    SELECT $identity AS given_id, min($column) AS vector
    FROM "read_$table"
    WHERE $column IS NOT NULL
    GROUP BY ALL
)
SELECT document_row AS row, given_id AS id, vector, false AS differs
FROM given JOIN read_parquet($log) ON given_id = document_id
ORDER BY row
