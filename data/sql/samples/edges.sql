-- The edges of the training window, and those without a date, which are used only if the experiment asks for them.
WITH cut AS (SELECT max(searched_at) AS last_at FROM searches WHERE split = 'train')
SELECT source_row, source_type, target_row, target_type, kind, weight, created_at IS NULL AS undated
FROM edges, cut
WHERE created_at IS NULL OR created_at <= last_at
ORDER BY ALL
