-- The parts of whose clicked results none was known when the next part began, with that time: the first action on each came later.
WITH clicks AS (
    SELECT split, first_at, known_until
    FROM merged_results
    JOIN parts USING (search_row)
    JOIN part_ends USING (split)
    LEFT JOIN (
        SELECT search_row, document_row, first_action(true, acted_at) AS first_at FROM $actions GROUP BY search_row, document_row
    ) USING (search_row, document_row)
    WHERE clicked AND split IN ('train', 'validation')
)
SELECT split, known_until
FROM clicks
GROUP BY split, known_until
HAVING bool_and(coalesce(first_at >= known_until, false))
ORDER BY split
