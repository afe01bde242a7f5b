-- The table is in the order of its keys.
SELECT search_row, document_row, position, clicked, randomised
FROM merged_results
