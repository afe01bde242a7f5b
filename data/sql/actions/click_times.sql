-- The times of the clicks that are kept, where they have one. Without times of searches none counts.
CREATE TABLE timed_actions AS
SELECT search_row, document_row, 'click' AS action, first_action(true, acted_at) AS acted_at
FROM checked_results
WHERE reason IS NULL AND clicked AND NOT coalesce(getvariable('untimed'), false)
    AND EXISTS (FROM checked_results WHERE clicked AND acted_at IS NOT NULL)
GROUP BY search_row, document_row
HAVING first_action(true, acted_at) IS NOT NULL
