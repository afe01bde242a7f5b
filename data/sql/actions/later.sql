-- The actions that are later than their search, and the part in whose time they fall. All others have the time of their search, those
-- that claim to be earlier included.
SELECT search_row, document_row, action, timed_actions.acted_at, CASE
    WHEN timed_actions.acted_at >= test_from THEN 'test'
    WHEN timed_actions.acted_at >= validation_from THEN 'validation'
    WHEN timed_actions.acted_at < validation_from THEN 'train'
END AS acted_in
FROM timed_actions JOIN numbered_searches USING (search_row), cuts
WHERE timed_actions.acted_at > searched_at
ORDER BY search_row, document_row, action
