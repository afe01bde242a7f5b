-- Every result of a period as it was shown; position 0 if it is unknown.
SELECT search_row, document_row, coalesce(position, 0)::INTEGER AS position, clicked
FROM results JOIN searches USING (search_row)
WHERE split = $split
ORDER BY search_row, document_row
