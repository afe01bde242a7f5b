-- The relevant documents of the sampled searches, for each target set, without those that their searcher already has: at most $most
-- searches of each set, by a hash of their identity.
WITH alive AS (
    SELECT relevant.*, searches.search_id
    FROM relevant JOIN searches USING (search_row) SEMI JOIN candidates USING (document_row)
        ANTI JOIN excluded USING (searcher_row, document_row)
    WHERE split = $split
),
sampled AS (
    SELECT targets, search_row
    FROM (SELECT DISTINCT targets, search_row, search_id FROM alive)
    QUALIFY row_number() OVER (PARTITION BY targets ORDER BY md5(search_id), search_row) <= $most
)
SELECT targets, search_row, document_row, grade
FROM alive SEMI JOIN sampled USING (targets, search_row)
ORDER BY targets, search_row, document_row
