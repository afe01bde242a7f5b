-- Every search that was read, with the first reason to drop it, or null.
CREATE TABLE checked_searches AS
WITH looked_at AS (
    SELECT search_id, searched_at, trimmed(query) AS query, searcher_id, session_id, filled(topic) AS topic,
        filled(city) AS city, filled(region) AS region, filled(country) AS country, filled(language) AS language, split,
        CASE
            WHEN search_id IS NULL THEN 'search_id is missing'
            WHEN searched_at IS NULL THEN 'searched_at is missing'
            WHEN searched_at NOT BETWEEN TIMESTAMP '1970-01-01' AND TIMESTAMP '2100-01-01'
                THEN 'searched_at is before 1970 or after 2100'
            WHEN coalesce(trimmed(query), '') = '' THEN 'query is blank'
            WHEN length(query) > getvariable('longest_query') THEN 'query is too long'
            WHEN greatest(longest(search_id, searcher_id, session_id, topic, city, region), longest(country, language,
                split, NULL, NULL, NULL)) > getvariable('longest_id') THEN 'an identity or a place is too long'
        END AS fault
    FROM raw_searches
)
SELECT * EXCLUDE fault, coalesce(fault, CASE
    WHEN row_number() OVER (
        PARTITION BY search_id, fault IS NULL
        ORDER BY searched_at, query, searcher_id, session_id, topic, city, region, country, language, split
    ) > 1 THEN 'search_id seen before'
END) AS reason
FROM looked_at;

CREATE TABLE numbered_searches AS
SELECT CAST(row_number() OVER (ORDER BY searched_at, search_id) - 1 AS INTEGER) AS search_row, * EXCLUDE reason
FROM checked_searches
WHERE reason IS NULL;

INSERT INTO dropped
SELECT 'searches', reason, count(*), min(shortened(coalesce(search_id, query)), 3)
FROM checked_searches
WHERE reason IS NOT NULL
GROUP BY reason;

INSERT INTO counted
SELECT 'searches', count(*), count(*) FILTER (WHERE reason IS NULL)
FROM checked_searches;
