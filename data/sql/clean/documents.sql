CREATE TABLE checked_documents AS
WITH looked_at AS (
    SELECT document_id, coalesce(title, '') AS title, nullif(body, '') AS body, filled(kind) AS kind,
        filled(city) AS city, filled(region) AS region, filled(country) AS country, filled(language) AS language,
        created_at, removed_at,
        CASE
            WHEN document_id IS NULL THEN 'document_id is missing'
            WHEN greatest(length(title), length(body)) > getvariable('longest_text') THEN 'title or body is too long'
            WHEN longest(document_id, kind, city, region, country, language) > getvariable('longest_id')
                THEN 'an identity or a place is too long'
            WHEN removed_at < created_at THEN 'removed_at is before created_at'
        END AS fault
    FROM raw_documents
)
SELECT * EXCLUDE fault, coalesce(fault, CASE
    WHEN row_number() OVER (
        PARTITION BY document_id, fault IS NULL
        ORDER BY created_at, removed_at, title, body, kind, city, region, country, language
    ) > 1 THEN 'document_id seen before'
END) AS reason
FROM looked_at;

-- Rows follow a hash of the identity, so that a tie broken by row is broken at random.
CREATE TABLE numbered_documents AS
SELECT CAST(row_number() OVER (ORDER BY md5(document_id), document_id) - 1 AS INTEGER) AS document_row, document_id
FROM checked_documents
WHERE reason IS NULL;

INSERT INTO dropped
SELECT 'documents', reason, count(*), min(shortened(coalesce(document_id, title)), 3)
FROM checked_documents
WHERE reason IS NOT NULL
GROUP BY reason;

INSERT INTO counted
SELECT 'documents', count(*), count(*) FILTER (WHERE reason IS NULL)
FROM checked_documents;
