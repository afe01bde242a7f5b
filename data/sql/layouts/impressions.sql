-- A row is a result that was shown, or clicked; read_searched gives its search. Rows of the same result in a search become one.
CREATE TABLE shown AS SELECT * FROM read_searched;
SET VARIABLE by_instant = (SELECT count(DISTINCT search_id) FROM shown WHERE by_instant);

CREATE VIEW raw_searches AS
SELECT search_id, first.searched_at, first.query, first.searcher_id, first.session_id, first.topic, first.city,
    first.region, first.country, first.language, CAST(NULL AS VARCHAR) AS split
FROM (
    SELECT search_id, min(struct_pack(searched_at, query, searcher_id, session_id, topic, city, region, country, language))
        AS first
    FROM shown
    GROUP BY search_id, searcher_id, lower(trimmed(query))
);

CREATE TABLE raw_results AS
SELECT search_id, document_id,
    coalesce(min(position) FILTER (WHERE clicked), min(position)) AS position,
    bool_or(clicked) AS clicked,
    bool_and(randomised) AS randomised,
    first_action(clicked, coalesce(since_1970(acted_at), searched_at)) AS acted_at,
    count(*) AS copies, bool_and(coalesce(clicked, false)) AS only_acted, bool_and(is_derived) AS is_derived
FROM (
    SELECT * REPLACE (CASE WHEN getvariable('has_clicked') THEN clicked ELSE true END AS clicked)
    FROM shown
    WHERE document_id IS NOT NULL OR (getvariable('has_clicked') AND clicked)  -- a click on nothing is dropped as a click
)
GROUP BY search_id, document_id;

-- Searches that the log does not name and that hold actions alone, in a log with rows of what was shown and not clicked: some where an
-- action has a row beside that of its result, otherwise at least one search in twenty. Actions long after their list look like this.
SET VARIABLE acted_alone = (
    SELECT CASE WHEN separate OR alone >= 0.05 * searches THEN alone ELSE 0 END
    FROM (
        SELECT count(*) AS searches, count(*) FILTER (WHERE is_alone) AS alone, bool_or(separate) AS separate,
            bool_or(NOT all_acted) AS shows
        FROM (
            SELECT bool_and(only_acted) AND bool_and(is_derived) AS is_alone, bool_and(coalesce(clicked, false)) AS all_acted,
                bool_or(clicked AND NOT only_acted) AS separate
            FROM raw_results GROUP BY search_id
        )
    )
    WHERE shows
);

INSERT INTO dropped
SELECT 'impressions', 'document_id is missing: a search without results', count(*), min(shortened(query), 3)
FROM shown
WHERE document_id IS NULL AND NOT (getvariable('has_clicked') AND coalesce(clicked, false));

INSERT INTO dropped
SELECT 'impressions', 'the same result again: on another page, or shown and then clicked', sum(copies - 1),
    min(DISTINCT shortened(document_id), 3)
FROM raw_results
WHERE copies > 1
HAVING count(*) > 0;

INSERT INTO counted
SELECT 'impressions', (SELECT count(*) FROM shown), (SELECT count(*) FROM raw_results);

-- Without a catalogue the documents are those of the log, with their newest title.
CREATE VIEW raw_documents AS
SELECT * FROM read_documents
UNION ALL BY NAME
SELECT document_id, max(struct_pack(searched_at, title)).title AS title
FROM shown
WHERE NOT getvariable('has_documents') AND document_id IS NOT NULL
GROUP BY document_id;

CREATE VIEW raw_edges AS SELECT * FROM read_edges;
CREATE VIEW raw_judgements AS SELECT * FROM read_judgements;
