-- The contents of each part, one row for each. after_cut counts searches after the end of the part, in sessions that began before it.
SELECT parts.split, count(*) AS searches,
    count(*) FILTER (WHERE clicks > 0) AS clicked_searches,
    CAST(coalesce(sum(clicks), 0) AS BIGINT) AS clicks,
    CAST(coalesce(sum(shown), 0) AS BIGINT) AS impressions,
    count(DISTINCT query) AS queries,
    count(DISTINCT searcher_id) AS searchers,
    count(DISTINCT session_row) AS sessions,
    count(*) FILTER (
        WHERE (parts.split = 'train' AND searched_at >= validation_from)
            OR (parts.split = 'validation' AND searched_at >= test_from)
    ) AS after_cut
FROM parts
JOIN numbered_searches USING (search_row)
CROSS JOIN cuts
LEFT JOIN result_lists USING (search_row)
GROUP BY parts.split
