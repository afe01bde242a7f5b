SELECT coalesce(source.searcher_row, source_document_row) AS source_row, source_type,
    coalesce(target.searcher_row, target_document_row) AS target_row, target_type,
    filled(kind) AS kind, CAST(coalesce(weight, 1) AS REAL) AS weight, created_at
FROM checked_edges
LEFT JOIN numbered_searchers AS source ON source_type = 'searcher' AND source.searcher_id = source_id
LEFT JOIN numbered_searchers AS target ON target_type = 'searcher' AND target.searcher_id = target_id
WHERE reason IS NULL
-- Types as Booleans, which are sorted faster: document comes before searcher.
ORDER BY source_row, source_type = 'searcher', target_row, target_type = 'searcher', kind, weight, created_at
