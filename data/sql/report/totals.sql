SELECT
    CAST(getvariable('until') AS TIMESTAMP) AS until,
    coalesce(getvariable('untimed'), false) AS untimed,
    getvariable('split_by') AS split_by,
    (SELECT min(searched_at) FROM numbered_searches) AS first_search,
    (SELECT max(searched_at) FROM numbered_searches) AS last_search,
    (SELECT validation_from FROM cuts) AS validation_from,
    (SELECT test_from FROM cuts) AS test_from,
    (SELECT count(searcher_id) / count(*) FROM numbered_searches) AS signed_in,
    (SELECT count(*) FILTER (WHERE clicks > 1) / nullif(count(*) FILTER (WHERE clicks > 0), 0) FROM result_lists)
        AS several_clicks
