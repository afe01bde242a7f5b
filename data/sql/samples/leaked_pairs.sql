-- The number of (searcher, document) pairs clicked in the test and not in the training window, the number of them that an undated edge
-- joins, and the number that one joins if the same documents are assigned to the same searchers at random.
WITH undated AS (
    SELECT DISTINCT source_row AS searcher_row, target_row AS document_row
    FROM edges
    WHERE created_at IS NULL AND source_type = 'searcher' AND target_type = 'document'
        AND (len($kinds::VARCHAR[]) = 0 OR list_contains($kinds::VARCHAR[], kind))
),
pairs AS (
    SELECT DISTINCT searcher_row, document_row, split
    FROM results JOIN searches USING (search_row)
    WHERE clicked AND searcher_row IS NOT NULL
),
fresh AS (
    SELECT searcher_row, document_row, row_number() OVER (ORDER BY searcher_row, document_row) AS place
    FROM (FROM pairs WHERE split = 'test')
    ANTI JOIN (FROM pairs WHERE split = 'train') USING (searcher_row, document_row)
),
dealt AS (  -- the same documents, assigned to the searchers in another order
    SELECT one.searcher_row, other.document_row
    FROM fresh AS one JOIN (
        SELECT document_row, row_number() OVER (ORDER BY md5(searcher_row || ' ' || document_row), document_row) AS place
        FROM fresh
    ) AS other USING (place)
)
SELECT
    (SELECT count(*) FROM fresh) AS pairs,
    (SELECT count(*) FROM fresh SEMI JOIN undated USING (searcher_row, document_row)) AS joined,
    (SELECT count(*) FROM dealt SEMI JOIN undated USING (searcher_row, document_row)) AS by_chance
