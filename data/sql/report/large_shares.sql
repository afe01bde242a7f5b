-- Whoever or whatever has more than a share (?) of the searches or clicks of a log of at least 100: (what, name, rows, total, unit).
WITH limits AS (SELECT CAST(? AS DOUBLE) AS share),
large_sessions AS (
    SELECT session_row FROM sessions GROUP BY session_row
    HAVING count(*) > (SELECT count(*) FROM numbered_searches) * (SELECT share FROM limits)
),
largest AS (
    SELECT 'searcher' AS what, shortened(searcher_id) AS name, count(*) AS rows, (SELECT count(*) FROM numbered_searches) AS total,
        'searches' AS unit
    FROM numbered_searches WHERE searcher_id IS NOT NULL GROUP BY searcher_id
    UNION ALL
    SELECT 'session', 'from ' || shortened(min(search_id)), count(*), (SELECT count(*) FROM numbered_searches), 'searches'
    FROM sessions SEMI JOIN large_sessions USING (session_row) JOIN numbered_searches USING (search_row) GROUP BY session_row
    UNION ALL
    SELECT 'query', shortened(query), count(*), (SELECT count(*) FROM numbered_searches), 'searches'
    FROM numbered_searches WHERE NOT is_blank_query(query) GROUP BY query
    UNION ALL
    SELECT 'document', shortened(document_id), clicks, (SELECT count(*) FROM merged_results WHERE clicked), 'clicks'
    FROM (SELECT document_row, count(*) AS clicks FROM merged_results WHERE clicked GROUP BY document_row)
    JOIN numbered_documents USING (document_row)
)
SELECT largest.* FROM largest, limits WHERE total >= 100 AND rows > total * share ORDER BY unit DESC, what, rows DESC, name
