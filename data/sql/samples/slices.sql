-- One row for each target set and sampled search, with the columns that its slices need. The main target of a search represents all: the
-- highest grade, then the best logged position, then the lowest row. Popularity is counted in the training window: the head is the most
-- clicked documents with half of all clicks, the torso the next documents with four tenths of them, the tail all others. A target is
-- new if it was created after the last training search; if its date is unknown, if no training search showed it. A title is shared
-- if another candidate has the same words in it, in any order: the name alone cannot tell the two apart.
WITH clicks AS (
    SELECT document_row, count(*) FILTER (WHERE clicked) AS clicks
    FROM results SEMI JOIN (SELECT search_row FROM searches WHERE split = 'train') USING (search_row)
    GROUP BY document_row
),
tiers AS (
    SELECT document_row, CASE
        WHEN before < 0.5 * total THEN 'head' WHEN before < 0.9 * total THEN 'torso' ELSE 'tail'
    END AS tier
    FROM (
        SELECT document_row,
            sum(clicks) OVER (ORDER BY clicks DESC, document_row) - clicks AS before, sum(clicks) OVER () AS total
        FROM clicks
        WHERE clicks > 0
    )
),
main AS (
    SELECT wanted.targets, wanted.search_row, wanted.document_row, results.position
    FROM targets AS wanted LEFT JOIN results USING (search_row, document_row)
    QUALIFY row_number() OVER (
        PARTITION BY wanted.targets, wanted.search_row ORDER BY wanted.grade DESC, results.position NULLS LAST, wanted.document_row
    ) = 1
),
namesakes AS (
    SELECT document_row, count(*) OVER (PARTITION BY list_sort(words(title))) > 1 AS shares_title
    FROM documents SEMI JOIN candidates USING (document_row)
)
SELECT
    main.targets, main.search_row, main.document_row, documents.kind, coalesce(tiers.tier, 'tail') AS popularity,
    coalesce(documents.created_at > (SELECT max(searched_at) FROM searches WHERE split = 'train'), clicks.document_row IS NULL)
        AS target_new,
    NOT list_has_any(words(query), words(concat_ws(' ', title, body))) AS shares_no_word,
    coalesce(namesakes.shares_title, false) AS shares_title,
    CASE
        WHEN searches.city = documents.city AND coalesce(searches.country = documents.country, true) THEN 'same city'
        WHEN searches.country = documents.country THEN 'same country'
        WHEN coalesce(searches.country <> documents.country, searches.city <> documents.city) THEN 'elsewhere'
    END AS place,
    main.position,
    CASE
        WHEN main.search_row IN (SELECT search_row FROM relevant WHERE targets = 'clicked') THEN 'clicked'
        WHEN main.search_row IN (SELECT search_row FROM relevant WHERE targets = 'recovered') THEN 'recovered'
        ELSE 'abandoned'
    END AS outcome
FROM main
JOIN searches USING (search_row)
JOIN queries USING (query_row)
JOIN documents USING (document_row)
LEFT JOIN clicks USING (document_row)
LEFT JOIN tiers USING (document_row)
LEFT JOIN namesakes USING (document_row)
ORDER BY main.targets, main.search_row
