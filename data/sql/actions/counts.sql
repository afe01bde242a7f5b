-- Every action: its weight, or null, its rows and the results that have it; those with a weight first, then the most frequent.
SELECT action, weight, target_set, rows, results FROM action_counts ORDER BY weight IS NULL, weight, rows DESC, action
