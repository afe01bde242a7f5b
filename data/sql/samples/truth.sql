-- The world's truth: the documents that each search wanted.
CREATE TEMP TABLE truth AS
SELECT search_id::VARCHAR AS search_id, document_id::VARCHAR AS document_id, grade, misspelt, attempt
FROM read_parquet($path)
