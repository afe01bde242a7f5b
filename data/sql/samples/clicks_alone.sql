-- A log whose actions have no weights: clicks are the only action, and all count the same.
CREATE VIEW actions AS
SELECT search_row, document_row, 'click' AS action, 'clicked' AS target_set, 1.0::DOUBLE AS weight FROM results WHERE clicked;
CREATE VIEW click_weights AS SELECT search_row, document_row, 1.0::DOUBLE AS weight FROM results WHERE clicked
