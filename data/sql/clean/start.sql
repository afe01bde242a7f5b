CREATE TABLE dropped (table_name VARCHAR, reason VARCHAR, rows BIGINT, examples VARCHAR[]);
CREATE TABLE counted (table_name VARCHAR, read BIGINT, kept BIGINT);

-- For the layouts that have none.
CREATE VIEW no_edges AS
SELECT CAST(NULL AS VARCHAR) AS source_id, CAST(NULL AS VARCHAR) AS target_id, CAST(NULL AS VARCHAR) AS source_type,
    CAST(NULL AS VARCHAR) AS target_type, CAST(NULL AS VARCHAR) AS kind, CAST(NULL AS DOUBLE) AS weight,
    CAST(NULL AS TIMESTAMP) AS created_at
WHERE false;

-- The three locales of the shopping queries; any other keeps its language open.
CREATE MACRO language_of(locale) AS CASE locale WHEN 'us' THEN 'en' WHEN 'es' THEN 'es' WHEN 'jp' THEN 'ja' END;
CREATE MACRO part_of(split) AS CASE
    WHEN lower(trim(split)) IN ('valid', 'val', 'dev') THEN 'validation'
    ELSE lower(trim(split))
END;
