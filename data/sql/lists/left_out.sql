SELECT reason, count(*)::BIGINT AS rows, min(concat_ws(' / ', left(coalesce(search_id, query), 100), left(document_id, 100)), 3) AS examples
FROM checked_list
WHERE reason IS NOT NULL
GROUP BY reason
ORDER BY rows DESC, reason
