-- Identities become numbers here, so that an edge takes a few bytes. Only dropped edges keep their texts.
-- Every document and searcher that an edge may mean: of searches, or of an edge that says so.
CREATE TABLE edge_ends AS
WITH searchers AS (
    SELECT searcher_id, true AS searches FROM numbered_searches
    UNION ALL
    SELECT source_id, false FROM raw_edges WHERE source_type = 'searcher'
    UNION ALL
    SELECT target_id, false FROM raw_edges WHERE target_type = 'searcher'
)
SELECT CAST(row_number() OVER () - 1 AS INTEGER) AS number, coalesce(document_id, searcher_id) AS id, document_row, searcher_id, searches
FROM numbered_documents
FULL JOIN (SELECT searcher_id, bool_or(searches) AS searches FROM searchers WHERE searcher_id IS NOT NULL GROUP BY searcher_id)
    ON document_id = searcher_id;

-- An edge without types: an identity that only documents have is a document, one that only searchers have is a searcher.
-- A row at an end is that of a document, or the number of a searcher. What needs one edge alone is computed before the joins.
CREATE TABLE checked_edges AS
WITH written_edges AS (
    SELECT source_id, target_id, source_type = 'searcher' AS source_searches, target_type = 'searcher' AS target_searches,
        filled(kind) AS kind, TRY_CAST(weight AS REAL) AS weight, since_1970(created_at) AS created_at,
        CASE
            WHEN source_id IS NULL THEN 'source_id is missing'
            WHEN target_id IS NULL THEN 'target_id is missing'
            WHEN any_longer(getvariable('longest_id'), source_id, target_id, kind, NULL, NULL, NULL) THEN 'an identity is too long'
            WHEN NOT coalesce(TRY_CAST(weight AS REAL) > 0, weight IS NULL) THEN 'weight is not above 0'
        END AS fault
    FROM raw_edges
),
typed_edges AS (
    SELECT edge.* EXCLUDE (source_searches, target_searches), source.number AS source_number, target.number AS target_number,
        source.document_row AS source_document_row, target.document_row AS target_document_row,
        coalesce(source_searches, CASE WHEN source.document_row IS NOT NULL THEN false WHEN source.searches THEN true END) AS source_searches,
        coalesce(target_searches, CASE WHEN target.document_row IS NOT NULL THEN false WHEN target.searches THEN true END) AS target_searches
    FROM written_edges AS edge
    LEFT JOIN edge_ends AS source ON source_id = source.id
    LEFT JOIN edge_ends AS target ON target_id = target.id
),
numbered_edges AS (
    SELECT *, CASE WHEN source_searches THEN source_number ELSE source_document_row END AS source_row,
        CASE WHEN target_searches THEN target_number ELSE target_document_row END AS target_row
    FROM typed_edges
),
looked_at AS (
    SELECT *, CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN source_row IS NULL THEN 'unknown source_id'
        WHEN target_row IS NULL THEN 'unknown target_id'
    END AS reason
    FROM numbered_edges
)
SELECT source_row, source_searches, target_row, target_searches, kind, weight, created_at, reason,
    CASE WHEN reason IS NOT NULL THEN shortened(concat_ws(' → ', source_id, target_id)) END AS example
FROM looked_at;

INSERT INTO dropped
SELECT 'edges', reason, count(*), min(example, 3)
FROM checked_edges
WHERE reason IS NOT NULL
GROUP BY reason;

INSERT INTO counted
SELECT 'edges', count(*), count(*) FILTER (WHERE reason IS NULL)
FROM checked_edges;

CREATE TABLE edge_searchers AS
SELECT number, searcher_id
FROM edge_ends
SEMI JOIN (
    SELECT source_row AS number FROM checked_edges WHERE reason IS NULL AND source_searches
    UNION
    SELECT target_row FROM checked_edges WHERE reason IS NULL AND target_searches
) USING (number);

-- A searcher who never searched may still be the target of an edge.
CREATE TABLE numbered_searchers AS
SELECT CAST(row_number() OVER (ORDER BY searcher_id) - 1 AS INTEGER) AS searcher_row, searcher_id, number
FROM edge_ends
WHERE searches OR number IN (SELECT number FROM edge_searchers);

DROP TABLE edge_ends;
