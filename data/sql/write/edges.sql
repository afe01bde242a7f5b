SELECT coalesce(source.searcher_row, source_document_row) AS source_row, source_type,
    coalesce(target.searcher_row, target_document_row) AS target_row, target_type,
    filled(kind) AS kind, CAST(coalesce(weight, 1) AS REAL) AS weight, created_at
FROM checked_edges
LEFT JOIN numbered_searchers AS source ON source_type = 'searcher' AND source.searcher_id = source_id
LEFT JOIN numbered_searchers AS target ON target_type = 'searcher' AND target.searcher_id = target_id
WHERE reason IS NULL
ORDER BY ALL
