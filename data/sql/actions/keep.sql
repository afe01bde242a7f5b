-- The actions with a weight on the results that are kept, in the order of the file that is written.
CREATE TABLE acted AS
SELECT search_row, document_row, action, target_set, weight, first_action(true, acted_at) AS acted_at
FROM raw_actions
JOIN action_weights USING (action)
JOIN numbered_searches USING (search_id)
JOIN numbered_documents USING (document_id)
SEMI JOIN (SELECT search_row, document_row FROM merged_results WHERE clicked) USING (search_row, document_row)
WHERE coalesce(acted_at <= TIMESTAMP '2100-01-01', true)
GROUP BY search_row, document_row, action, target_set, weight
ORDER BY search_row, document_row, action;

-- Every action of the logs or of the weights: its rows, the same without repetitions, and the results that have it.
CREATE TABLE action_counts AS
WITH read AS (
    SELECT action, count(*) AS rows, count(DISTINCT (search_id, document_id)) AS results FROM raw_actions GROUP BY action
),
kept AS (SELECT action, count(*) AS results FROM acted GROUP BY action)
SELECT action, weight, target_set, coalesce(read.rows, 0) AS rows, coalesce(read.results, 0) AS distinct_results,
    coalesce(kept.results, 0) AS results
FROM read
FULL JOIN action_weights USING (action)
LEFT JOIN kept USING (action);

INSERT INTO dropped
SELECT 'actions', 'no weight in logs.actions', sum(rows), min(shortened(action), 3) FROM action_counts WHERE weight IS NULL
HAVING count(*) > 0
UNION ALL
SELECT 'actions', 'the same action on the same document again', sum(rows - distinct_results), []
FROM action_counts WHERE weight IS NOT NULL
UNION ALL
SELECT 'actions', 'on a result that is dropped, or on none', sum(distinct_results - results), []
FROM action_counts WHERE weight IS NOT NULL;

INSERT INTO counted
SELECT 'actions', coalesce(sum(rows), 0), coalesce(sum(results), 0) FROM action_counts;
