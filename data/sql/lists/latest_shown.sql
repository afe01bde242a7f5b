-- For each query of the log, the newest search whose results have positions and were not in random order: when it was, and its first
-- $length documents. The $most queries that were asked last.
WITH placed AS (
    SELECT search_row, list(document_row ORDER BY position, document_row)[:$length] AS documents
    FROM results
    WHERE position IS NOT NULL AND NOT coalesce(randomised, false)
    GROUP BY search_row
)
SELECT query, searched_at, documents
FROM every_search JOIN placed USING (search_row) JOIN queries USING (query_row)
QUALIFY row_number() OVER (PARTITION BY query_row ORDER BY searched_at DESC, search_row DESC) = 1
ORDER BY searched_at DESC, search_row DESC
LIMIT $most
