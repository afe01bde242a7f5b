-- Columns that the layout does not know, in the order of the extracted rows. If rows repeat an identity, the smallest value is used.
WITH given AS (
    SELECT $identity AS given_id, {$columns} AS own  -- a record, so that columns may have any name
    FROM read_$table
    GROUP BY ALL
)
SELECT $names
FROM read_parquet($log) AS known
LEFT JOIN given ON given_id = known.$id
ORDER BY known.$row
