-- Hard positives: a search of the training window without a click, with the documents clicked in the next search of its session that
-- has a click. Both lie in the training window: `searches` leaves out searches of long sessions after the cut. The weight is the largest
-- of the document's actions among $actions (all, if there are none), 0 without one.
WITH clicks AS (FROM click_weights),
named AS (
    SELECT search_row, document_row, max(weight) AS weight
    FROM actions
    WHERE len($actions) = 0 OR list_contains($actions, action)
    GROUP BY search_row, document_row
),
training AS (
    SELECT search_row, session_row, query_row, searcher_row, searched_at,
        search_row IN (SELECT search_row FROM clicks) AS clicked
    FROM searches WHERE split = 'train'
),
followed AS (
    SELECT failed.search_row, arg_min(later.search_row, (later.searched_at, later.search_row)) AS later_row
    FROM training AS failed JOIN training AS later USING (session_row)
    WHERE NOT failed.clicked AND later.clicked
        AND (later.searched_at, later.search_row) > (failed.searched_at, failed.search_row)
    GROUP BY failed.search_row
)
SELECT followed.search_row, clicks.document_row, training.query_row,
    coalesce(training.searcher_row, -1)::INTEGER AS searcher_row, coalesce(named.weight, 0)::REAL AS weight
FROM followed
JOIN clicks ON clicks.search_row = later_row
JOIN training ON training.search_row = followed.search_row
LEFT JOIN named ON (named.search_row, named.document_row) = (later_row, clicks.document_row)
ORDER BY ALL
