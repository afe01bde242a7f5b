-- Rows read, rows kept, and rows whose loss costs nothing.
SELECT read, kept, (
    SELECT coalesce(sum(rows), 0) FROM dropped SEMI JOIN harmless USING (reason) WHERE dropped.table_name = counted.table_name
)
FROM counted
WHERE table_name = ?
