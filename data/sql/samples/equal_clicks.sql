-- Clicks are the only action, so each is the weight of its result.
CREATE VIEW click_weights AS SELECT search_row, document_row, weight FROM actions
