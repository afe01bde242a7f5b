-- The number of edges without a type, and up to three identities that a searcher and a document share.
SELECT count(*) FILTER (WHERE source_type IS NULL OR target_type IS NULL) AS untyped, (
    SELECT min(shortened(document_id), 3)
    FROM numbered_documents
    SEMI JOIN numbered_searches ON numbered_documents.document_id = numbered_searches.searcher_id
) AS shared
FROM raw_edges
