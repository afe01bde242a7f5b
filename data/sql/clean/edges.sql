-- An edge without types: an identity that only documents have is a document, one that only searchers have is a searcher.
CREATE TABLE typed_edges AS
WITH searcher_ids AS (SELECT DISTINCT searcher_id FROM numbered_searches WHERE searcher_id IS NOT NULL)
SELECT edge.* EXCLUDE (source_type, target_type) REPLACE (since_1970(edge.created_at) AS created_at),
    coalesce(source_type, CASE
        WHEN source_document.document_id IS NOT NULL THEN 'document'
        WHEN source_searcher.searcher_id IS NOT NULL THEN 'searcher'
    END) AS source_type,
    coalesce(target_type, CASE
        WHEN target_document.document_id IS NOT NULL THEN 'document'
        WHEN target_searcher.searcher_id IS NOT NULL THEN 'searcher'
    END) AS target_type,
    source_document.document_row AS source_document_row,
    target_document.document_row AS target_document_row
FROM raw_edges AS edge
LEFT JOIN numbered_documents AS source_document ON edge.source_id = source_document.document_id
LEFT JOIN numbered_documents AS target_document ON edge.target_id = target_document.document_id
LEFT JOIN searcher_ids AS source_searcher ON edge.source_id = source_searcher.searcher_id
LEFT JOIN searcher_ids AS target_searcher ON edge.target_id = target_searcher.searcher_id;

CREATE TABLE checked_edges AS
SELECT *, CASE
    WHEN source_id IS NULL THEN 'source_id is missing'
    WHEN target_id IS NULL THEN 'target_id is missing'
    WHEN longest(source_id, target_id, kind, NULL, NULL, NULL) > getvariable('longest_id') THEN 'an identity is too long'
    WHEN NOT coalesce(TRY_CAST(weight AS REAL) > 0, weight IS NULL) THEN 'weight is not above 0'
    WHEN source_type IS NULL OR (source_type = 'document' AND source_document_row IS NULL) THEN 'unknown source_id'
    WHEN target_type IS NULL OR (target_type = 'document' AND target_document_row IS NULL) THEN 'unknown target_id'
END AS reason
FROM typed_edges;

INSERT INTO dropped
SELECT 'edges', reason, count(*), min(shortened(concat_ws(' → ', source_id, target_id)), 3)
FROM checked_edges
WHERE reason IS NOT NULL
GROUP BY reason;

INSERT INTO counted
SELECT 'edges', count(*), count(*) FILTER (WHERE reason IS NULL)
FROM checked_edges;

CREATE TABLE edge_searchers AS
SELECT source_id AS searcher_id FROM checked_edges WHERE reason IS NULL AND source_type = 'searcher'
UNION
SELECT target_id FROM checked_edges WHERE reason IS NULL AND target_type = 'searcher';

-- A searcher who never searched may still be the target of an edge.
CREATE TABLE numbered_searchers AS
SELECT CAST(row_number() OVER (ORDER BY searcher_id) - 1 AS INTEGER) AS searcher_row, searcher_id
FROM (
    SELECT searcher_id FROM numbered_searches WHERE searcher_id IS NOT NULL
    UNION
    SELECT searcher_id FROM edge_searchers
);
