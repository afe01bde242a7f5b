-- Clicks that were read, those among them that are dropped, and the reasons: (reason, clicks, up to three examples), the most first.
SELECT count(*), count(*) FILTER (WHERE reason IS NOT NULL), (
    SELECT list({reason: reason, clicks: clicks, examples: examples} ORDER BY clicks DESC, reason) FROM (
        SELECT reason, count(*) AS clicks, min(example, 3) AS examples
        FROM checked_results
        WHERE clicked AND reason IS NOT NULL
        GROUP BY reason
    )
)
FROM checked_results
WHERE clicked
