-- Some actions are later than their search: every_action and every_result have their times, null where it is that of the search. A result
-- has the time of its first action. What a part knows had happened before the next part began, by the split and by its first search:
-- actions and results have nothing later. A result whose actions are all later counts as shown and not clicked, as it was then, if the log has such results, and
-- a position of it where it has positions; otherwise it is not there. The test, the last part, knows all.
CREATE VIEW every_action AS
SELECT logged_actions.*, acted_at, acted_in FROM logged_actions LEFT JOIN action_times USING (search_row, document_row, action);
CREATE VIEW every_result AS
SELECT logged_results.*, acted_at FROM logged_results LEFT JOIN (
    SELECT search_row, document_row, min(acted_at) AS acted_at
    FROM every_action GROUP BY search_row, document_row HAVING count(acted_at) = count(*)
) USING (search_row, document_row);

CREATE TEMP TABLE unknown_actions AS
WITH ends AS (
    SELECT split, lead(split) OVER by_time AS next, lead(min(searched_at)) OVER by_time AS next_from
    FROM searches WHERE split IN ('train', 'validation', 'ranking', 'test') GROUP BY split
    WINDOW by_time AS (ORDER BY min(searched_at))
)
SELECT search_row, document_row, action
FROM action_times JOIN searches USING (search_row) JOIN ends USING (split), cuts
WHERE timed AND coalesce(acted_at >= next_from OR acted_in = next, false);
CREATE TEMP TABLE unknown_clicks AS
SELECT DISTINCT search_row, document_row
FROM unknown_actions ANTI JOIN (FROM logged_actions ANTI JOIN unknown_actions USING (search_row, document_row, action))
    USING (search_row, document_row);
CREATE TEMP TABLE shows AS
SELECT bool_or(NOT clicked) AS shows_all, count(position) > 0 AS has_positions FROM logged_results;

CREATE VIEW actions AS FROM logged_actions ANTI JOIN unknown_actions USING (search_row, document_row, action);
CREATE VIEW results AS
FROM every_result ANTI JOIN unknown_clicks USING (search_row, document_row)
UNION ALL
SELECT every_result.* REPLACE (false AS clicked)
FROM every_result SEMI JOIN unknown_clicks USING (search_row, document_row), shows
WHERE shows_all AND (position IS NOT NULL OR NOT has_positions)
