CREATE OR REPLACE TABLE merged_results AS
SELECT search_row, document_row, position, clicked, randomised FROM merged_results ANTI JOIN repeated_results USING (search_row, document_row)
UNION ALL
SELECT search_row, document_row, position, clicked, randomised FROM repeated_results
ORDER BY search_row, document_row
