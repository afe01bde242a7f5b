SELECT document_row, document_id, title, body, kind, city, region, country, language, created_at, removed_at
FROM checked_documents
JOIN numbered_documents USING (document_id)
WHERE reason IS NULL
ORDER BY document_row
