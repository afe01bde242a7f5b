CREATE TABLE looked_at_documents AS
WITH dated AS (
    SELECT * REPLACE (since_1970(created_at) AS created_at, since_1970(removed_at) AS removed_at),
        (created_at < first_instant()) IS TRUE OR (removed_at < first_instant()) IS TRUE AS zero_date
    FROM raw_documents
)
SELECT document_id, coalesce(title, '') AS title, nullif(body, '') AS body, filled(kind) AS kind,
    filled(city) AS city, filled(region) AS region, filled(country) AS country, filled(language) AS language,
    created_at, removed_at, zero_date,
    CASE
        WHEN document_id IS NULL THEN 'document_id is missing'
        WHEN greatest(length(title), length(body)) > getvariable('longest_text') THEN 'title or body is too long'
        WHEN any_longer(getvariable('longest_id'), document_id, kind, city, region, country, language)
            THEN 'an identity or a place is too long'
        WHEN removed_at < created_at THEN 'removed_at is before created_at'
    END AS fault
FROM dated;

CREATE TABLE repeated_documents AS
SELECT document_id, CASE WHEN count(created_at) = count(*) THEN min(created_at) END AS first_created_at
FROM looked_at_documents
WHERE fault IS NULL
GROUP BY document_id
HAVING count(*) > 1;

-- Of the versions of a document the newest is kept. It has existed since the first was created.
CREATE TABLE checked_documents AS
WITH versions AS (
    SELECT *, row_number() OVER newest_first AS place, first(created_at) OVER newest_first AS newest_created_at,
        first(removed_at) OVER newest_first AS newest_removed_at
    FROM looked_at_documents JOIN repeated_documents USING (document_id)
    WHERE fault IS NULL
    WINDOW newest_first AS (
        PARTITION BY document_id
        ORDER BY created_at DESC NULLS LAST, removed_at DESC NULLS FIRST, title, body, kind, city, region, country, language
    )
)
SELECT * EXCLUDE fault, fault AS reason
FROM looked_at_documents
WHERE fault IS NOT NULL OR document_id NOT IN (SELECT document_id FROM repeated_documents)
UNION ALL
SELECT * EXCLUDE (fault, place, first_created_at, newest_created_at, newest_removed_at)
    REPLACE (CASE WHEN place = 1 THEN first_created_at ELSE created_at END AS created_at),
    CASE
        WHEN place = 1 THEN NULL
        WHEN (created_at, removed_at) IS DISTINCT FROM (newest_created_at, newest_removed_at)
            THEN 'an earlier version of the document'
        ELSE 'document_id seen before'
    END
FROM versions;

DROP TABLE looked_at_documents;

-- Rows follow a hash of the identity, so that a tie broken by row is broken at random.
CREATE TABLE numbered_documents AS
SELECT CAST(row_number() OVER () - 1 AS INTEGER) AS document_row, *
FROM (
    SELECT document_id, created_at, removed_at FROM checked_documents WHERE reason IS NULL ORDER BY md5(document_id), document_id
);

INSERT INTO dropped
SELECT 'documents', reason, count(*), list_sort(list(DISTINCT shortened(coalesce(document_id, title))))[:3]
FROM checked_documents
WHERE reason IS NOT NULL
GROUP BY reason;

INSERT INTO counted
SELECT 'documents', count(*), count(*) FILTER (WHERE reason IS NULL)
FROM checked_documents;
