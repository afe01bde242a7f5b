-- The times of the actions that are kept, where they have one. Without times of searches none counts.
CREATE TABLE timed_actions AS
SELECT search_row, document_row, action, acted_at FROM acted
WHERE acted_at IS NOT NULL AND NOT coalesce(getvariable('untimed'), false)
