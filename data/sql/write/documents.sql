SELECT document_row, document_id, title, body, kind, city, region, country, language, checked.created_at, checked.removed_at
FROM checked_documents AS checked
JOIN numbered_documents USING (document_id)
WHERE reason IS NULL
ORDER BY document_row
