-- Up to three searches that the collection's own split puts into two parts, and the names of its parts.
SELECT (
    SELECT min(shortened(search_id), 3) FROM (
        SELECT search_id FROM raw_searches WHERE search_id IS NOT NULL
        GROUP BY search_id HAVING count(DISTINCT split) > 1
    )
) AS twice, (SELECT list_sort(list(DISTINCT shortened(coalesce(split, 'null')))) FROM raw_searches) AS names
