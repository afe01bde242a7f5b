-- Every search that was read, with the first reason to drop it, or null.
CREATE TABLE looked_at_searches AS
SELECT search_id, searched_at, coalesce(trimmed(query), '') AS query, searcher_id, session_id, filled(topic) AS topic,
    filled(city) AS city, filled(region) AS region, filled(country) AS country, filled(language) AS language, split,
    CASE
        WHEN search_id IS NULL THEN 'search_id is missing'
        WHEN searched_at IS NULL THEN 'searched_at is missing'
        WHEN searched_at NOT BETWEEN coalesce(getvariable('first_time'), TIMESTAMP '1970-01-01') AND TIMESTAMP '2100-01-01'
            THEN 'searched_at is before 1970 or after 2100'
        WHEN query IS NULL AND getvariable('null_query') IS NOT NULL THEN getvariable('null_query')
        WHEN NOT getvariable('keep_blank') AND coalesce(trimmed(query), '') = '' THEN 'query is blank'
        WHEN length(query) > getvariable('longest_query') THEN 'query is too long'
        WHEN any_longer(getvariable('longest_id'), search_id, searcher_id, session_id, topic, city, region)
            OR any_longer(getvariable('longest_id'), country, language, split, NULL, NULL, NULL) THEN 'an identity or a place is too long'
    END AS fault
FROM raw_searches;

-- Identities that several rows have. If the rows differ in query or searcher, or lie more than a day apart, they are different searches, and
-- no result can be assigned to either.
CREATE TABLE repeated_searches AS
SELECT search_id, count(*) AS rows,
    count(DISTINCT lower(query)) > 1 OR count(DISTINCT searcher_id) > 1
        OR max(searched_at) - min(searched_at) > INTERVAL 1 DAY AS ambiguous
FROM looked_at_searches
WHERE fault IS NULL AND search_id IN (
    SELECT search_id FROM looked_at_searches WHERE fault IS NULL GROUP BY search_id HAVING count(*) > 1
)
GROUP BY search_id;

CREATE TABLE numbered_searches AS
WITH kept AS (
    SELECT * EXCLUDE fault FROM looked_at_searches
    WHERE fault IS NULL AND search_id NOT IN (SELECT search_id FROM repeated_searches)
    UNION ALL
    SELECT * EXCLUDE fault FROM looked_at_searches
    WHERE fault IS NULL AND search_id IN (SELECT search_id FROM repeated_searches WHERE NOT ambiguous)
    QUALIFY row_number() OVER (
        PARTITION BY search_id
        ORDER BY searched_at, query, searcher_id, session_id, topic, city, region, country, language, split
    ) = 1
)
SELECT CAST(row_number() OVER () - 1 AS INTEGER) AS search_row, *
FROM (FROM kept ORDER BY searched_at, search_id);

INSERT INTO dropped
SELECT 'searches', fault, count(*), list_sort(list(DISTINCT shortened(coalesce(search_id, query))))[:3]
FROM looked_at_searches
WHERE fault IS NOT NULL
GROUP BY fault;

INSERT INTO dropped
SELECT 'searches', CASE WHEN ambiguous THEN 'search_id of different searches' ELSE 'search_id seen before' END AS reason,
    sum(CASE WHEN ambiguous THEN rows ELSE rows - 1 END), list_sort(list(shortened(search_id)))[:3]
FROM repeated_searches
GROUP BY ambiguous;

INSERT INTO counted
SELECT 'searches', (SELECT count(*) FROM looked_at_searches), (SELECT count(*) FROM numbered_searches);

DROP TABLE looked_at_searches;
