-- The logged order of the sampled searches: position is the rank; null if it is unknown.
CREATE TEMP TABLE listed AS
SELECT search_row, document_row, position AS rank FROM results SEMI JOIN sampled USING (search_row)
