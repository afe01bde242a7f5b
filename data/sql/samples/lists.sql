-- Every result of a period as it was shown; position 0 if it is unknown. weight: the largest of its actions, 0 without one.
SELECT search_row, document_row, coalesce(position, 0)::INTEGER AS position, clicked, coalesce(weight, 0)::REAL AS weight
FROM results JOIN searches USING (search_row) LEFT JOIN click_weights USING (search_row, document_row)
WHERE split = $split
ORDER BY search_row, document_row
