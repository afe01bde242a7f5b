-- For each target set with a target, those of single actions last: the searches of the period, those with a target, those sampled, the targets not alive, and the
-- targets that their searcher already has.
WITH period AS (SELECT search_row, searcher_row FROM searches WHERE split = $split)
SELECT
    targets,
    (SELECT count(*) FROM period)::BIGINT AS searches,
    count(DISTINCT search_row)::BIGINT AS with_target,
    (SELECT count(DISTINCT search_row) FROM targets AS sampled WHERE sampled.targets = relevant.targets)::BIGINT AS sampled,
    (count(*) FILTER (WHERE document_row NOT IN (SELECT document_row FROM candidates)))::BIGINT AS targets_not_alive,
    (count(*) FILTER (
        WHERE document_row IN (SELECT document_row FROM candidates)
            AND (searcher_row, document_row) IN (SELECT (searcher_row, document_row) FROM excluded)
    ))::BIGINT AS targets_excluded
FROM relevant JOIN period USING (search_row)
GROUP BY targets
ORDER BY targets <> 'clicked' AND targets IN (SELECT target_set FROM actions), targets
