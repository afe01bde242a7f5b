-- For each part, the searches that were clicked, and those that have no click any more because their clicked results were dropped.
-- No part where no clicked result was dropped.
WITH clicked AS (
    SELECT search_row, bool_or(reason IS NULL) AS kept
    FROM checked_results
    WHERE clicked AND search_row IS NOT NULL AND EXISTS (FROM checked_results WHERE clicked AND reason IS NOT NULL)
    GROUP BY search_row
)
SELECT parts.split, count(*) AS searches, count(*) FILTER (WHERE NOT kept) AS lost, min(shortened(search_id), 3) FILTER (WHERE NOT kept) AS examples
FROM clicked
JOIN parts USING (search_row)
JOIN numbered_searches USING (search_row)
GROUP BY parts.split
ORDER BY parts.split
