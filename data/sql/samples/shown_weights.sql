-- For every result of the training window, in the order of `shown`: the largest weight of its actions among $actions (all, if there are
-- none), 0 without one.
SELECT coalesce(weight, 0)::REAL AS weight
FROM results JOIN searches USING (search_row) LEFT JOIN (
    SELECT search_row, document_row, max(weight) AS weight
    FROM actions
    WHERE len($actions) = 0 OR list_contains($actions, action)
    GROUP BY search_row, document_row
) USING (search_row, document_row)
WHERE split = 'train'
ORDER BY search_row, document_row
