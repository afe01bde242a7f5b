-- The rows of a ranked list for the sampled searches. Rows that name a search precede rows that name its query.
CREATE TEMP TABLE listed AS
WITH named AS (
    SELECT search_row, document_row, rank FROM given JOIN sampled USING (search_row)
)
FROM named
UNION ALL
SELECT sampled.search_row, document_row, rank
FROM given JOIN sampled USING (query_row)
WHERE sampled.search_row NOT IN (SELECT search_row FROM named)
