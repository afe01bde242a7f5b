-- A log whose actions have no weights: clicks are the only action, and all count the same.
CREATE VIEW logged_actions AS
SELECT search_row, document_row, 'click' AS action, 'clicked' AS target_set, 1.0::DOUBLE AS weight FROM logged_results WHERE clicked
