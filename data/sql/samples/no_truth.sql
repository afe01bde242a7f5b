-- Real logs do not record what a searcher wanted, so the truth is empty.
CREATE TEMP TABLE truth (search_id VARCHAR, document_id VARCHAR, grade DOUBLE, misspelt BOOLEAN, attempt TINYINT)
