-- A query_id is a search; its labels replace clicks. There are no times: every search has the same instant.
CREATE VIEW examples AS
SELECT *, upper(left(trim(esci_label), 1)) AS label, product_locale || ':' || product_id AS document_id
FROM read_examples
WHERE coalesce(CASE getvariable('version') WHEN 'small' THEN small_version ELSE large_version END, true)
    AND (len(getvariable('locales')) = 0
        OR list_contains(CAST(getvariable('locales') AS VARCHAR[]), product_locale));

CREATE VIEW raw_searches AS
SELECT DISTINCT query_id AS search_id, TIMESTAMP '1970-01-01' AS searched_at, query,
    CAST(NULL AS VARCHAR) AS searcher_id, CAST(NULL AS VARCHAR) AS session_id, CAST(NULL AS VARCHAR) AS topic,
    CAST(NULL AS VARCHAR) AS city, CAST(NULL AS VARCHAR) AS region, product_locale AS country,
    language_of(product_locale) AS language, part_of(split) AS split
FROM examples;

CREATE VIEW raw_results AS
SELECT query_id AS search_id, document_id, CAST(NULL AS BIGINT) AS position,
    CASE WHEN label = 'E' THEN true WHEN label IN ('S', 'C', 'I') THEN false END AS clicked,
    CAST(NULL AS BOOLEAN) AS randomised, CAST(NULL AS TIMESTAMP) AS acted_at
FROM examples;

-- The same product_id in another locale is another product.
CREATE VIEW raw_documents AS
SELECT product_locale || ':' || product_id AS document_id, product_title AS title,
    nullif(concat_ws(chr(10), nullif(product_bullet_point, ''), nullif(product_description, '')), '') AS body,
    'product' AS kind, CAST(NULL AS VARCHAR) AS city, CAST(NULL AS VARCHAR) AS region, product_locale AS country,
    language_of(product_locale) AS language, CAST(NULL AS TIMESTAMP) AS created_at,
    CAST(NULL AS TIMESTAMP) AS removed_at
FROM read_products
WHERE len(getvariable('locales')) = 0
    OR list_contains(CAST(getvariable('locales') AS VARCHAR[]), product_locale);

CREATE VIEW raw_edges AS FROM no_edges;

-- The gains of the collection's own ranking task.
CREATE VIEW raw_judgements AS
SELECT query_id AS search_id, CAST(NULL AS VARCHAR) AS topic, CAST(NULL AS VARCHAR) AS query, document_id,
    CASE label WHEN 'E' THEN 1.0 WHEN 'S' THEN 0.1 WHEN 'C' THEN 0.01 WHEN 'I' THEN 0.0 END::DOUBLE AS grade
FROM examples;
