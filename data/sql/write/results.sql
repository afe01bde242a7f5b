SELECT search_row, document_row, position, clicked, randomised
FROM merged_results
ORDER BY search_row, document_row
