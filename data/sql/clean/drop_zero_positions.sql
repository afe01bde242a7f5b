UPDATE checked_results SET reason = 'position is below 1 or absurd', example = (
    SELECT shortened(concat_ws(' / ', search_id, document_id))
    FROM numbered_searches, numbered_documents
    WHERE numbered_searches.search_row = checked_results.search_row
        AND numbered_documents.document_row = checked_results.document_row
)
WHERE position = 0 AND reason IS NULL
