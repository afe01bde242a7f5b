-- The weight of a clicked result is the largest of its actions.
CREATE VIEW click_weights AS SELECT search_row, document_row, max(weight) AS weight FROM actions GROUP BY search_row, document_row
