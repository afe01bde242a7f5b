-- Edges of the training window, and those without a date: whether one of them is used is for the experiment to say.
WITH cut AS (SELECT max(searched_at) AS last_at FROM searches WHERE split = 'train')
SELECT source_row, source_type, target_row, target_type, kind, weight, created_at IS NULL AS undated
FROM edges, cut
WHERE created_at IS NULL OR created_at <= last_at
ORDER BY ALL
