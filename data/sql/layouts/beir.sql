-- The file that judges a query gives its part of the split. There are no times: every search has the same instant.
CREATE VIEW qrels AS
SELECT "query-id" AS search_id, "corpus-id" AS document_id, score, 'train' AS split FROM read_train_qrels
UNION ALL
SELECT "query-id", "corpus-id", score, 'validation' FROM read_validation_qrels
UNION ALL
SELECT "query-id", "corpus-id", score, 'test' FROM read_test_qrels;

CREATE VIEW raw_searches AS
SELECT search_id, TIMESTAMP '1970-01-01' AS searched_at, text AS query,
    CAST(NULL AS VARCHAR) AS searcher_id, CAST(NULL AS VARCHAR) AS session_id, CAST(NULL AS VARCHAR) AS topic,
    CAST(NULL AS VARCHAR) AS city, CAST(NULL AS VARCHAR) AS region, CAST(NULL AS VARCHAR) AS country,
    CAST(NULL AS VARCHAR) AS language, split
FROM (SELECT DISTINCT search_id, split FROM qrels)
LEFT JOIN read_queries ON search_id = _id;

CREATE VIEW raw_results AS
SELECT search_id, document_id, CAST(NULL AS BIGINT) AS position, score >= getvariable('judged_from') AS clicked,
    CAST(NULL AS BOOLEAN) AS randomised, CAST(NULL AS TIMESTAMP) AS acted_at
FROM qrels;

CREATE VIEW raw_documents AS
SELECT _id AS document_id, title, text AS body, CAST(NULL AS VARCHAR) AS kind, CAST(NULL AS VARCHAR) AS city,
    CAST(NULL AS VARCHAR) AS region, CAST(NULL AS VARCHAR) AS country, CAST(NULL AS VARCHAR) AS language,
    CAST(NULL AS TIMESTAMP) AS created_at, CAST(NULL AS TIMESTAMP) AS removed_at
FROM read_corpus;

CREATE VIEW raw_edges AS FROM no_edges;

CREATE VIEW raw_judgements AS
SELECT search_id, CAST(NULL AS VARCHAR) AS topic, CAST(NULL AS VARCHAR) AS query, document_id, score AS grade
FROM qrels;
