-- All target sets. clicked: the documents clicked, graded by the weight of the action, and a set for each other action. judged: the documents rated at least $judged_from. recovered: for a search without a
-- click, the documents clicked in the next search of its session that has a click. randomised: the documents clicked in lists that were
-- shown in random order as a whole. truth: the documents that the searcher of a simulated world wanted; empty for other logs.
CREATE OR REPLACE TEMP TABLE relevant AS
WITH clicks AS (SELECT search_row, document_row FROM results WHERE clicked),
followed AS (
    SELECT failed.search_row, arg_min(later.search_row, (later.searched_at, later.search_row)) AS later_row
    FROM searches AS failed JOIN searches AS later USING (session_row)
    WHERE (later.searched_at, later.search_row) > (failed.searched_at, failed.search_row)
        AND failed.search_row NOT IN (SELECT search_row FROM clicks)
        AND later.search_row IN (SELECT search_row FROM clicks)
    GROUP BY failed.search_row
)
SELECT 'clicked' AS targets, search_row, document_row, weight::DOUBLE AS grade FROM click_weights
UNION ALL
SELECT DISTINCT target_set, search_row, document_row, 1.0 FROM actions WHERE target_set <> 'clicked'
UNION ALL
SELECT 'judged', search_row, document_row, grade FROM judgements WHERE grade >= $judged_from
UNION ALL
SELECT 'recovered', followed.search_row, clicks.document_row, 1.0
FROM followed JOIN clicks ON clicks.search_row = followed.later_row
UNION ALL
SELECT 'randomised', search_row, document_row, 1.0
FROM clicks SEMI JOIN (
    SELECT search_row FROM results GROUP BY search_row HAVING bool_and(coalesce(randomised, false))
) USING (search_row)
UNION ALL
SELECT 'truth', search_row, document_row, truth.grade
FROM truth JOIN searches USING (search_id) JOIN documents USING (document_id)
