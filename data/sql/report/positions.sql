SELECT position, count(*) AS shown, count(*) FILTER (WHERE clicked) AS clicks,
    count(*) FILTER (WHERE clicked) / count(*) AS click_rate
FROM merged_results
WHERE position BETWEEN 1 AND 10
GROUP BY position
ORDER BY position
