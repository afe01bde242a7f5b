-- Logs of real life do not say what a searcher wanted.
CREATE TEMP TABLE truth (search_id VARCHAR, document_id VARCHAR, grade FLOAT, misspelt BOOLEAN, attempt TINYINT)
