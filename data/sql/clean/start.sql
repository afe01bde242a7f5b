CREATE TABLE dropped (table_name VARCHAR, reason VARCHAR, rows BIGINT, examples VARCHAR[]);
CREATE TABLE counted (table_name VARCHAR, read BIGINT, kept BIGINT);
-- Reasons that lose nothing: another row says the same, or says it newer.
CREATE TABLE harmless (reason VARCHAR);
INSERT INTO harmless VALUES ('an earlier version of the document');

-- For layouts without edges.
CREATE VIEW no_edges AS
SELECT CAST(NULL AS VARCHAR) AS source_id, CAST(NULL AS VARCHAR) AS target_id, CAST(NULL AS VARCHAR) AS source_type,
    CAST(NULL AS VARCHAR) AS target_type, CAST(NULL AS VARCHAR) AS kind, CAST(NULL AS DOUBLE) AS weight,
    CAST(NULL AS TIMESTAMP) AS created_at
WHERE false;

-- The three locales of the shopping queries; for any other locale the language is null.
CREATE MACRO language_of(locale) AS CASE locale WHEN 'us' THEN 'en' WHEN 'es' THEN 'es' WHEN 'jp' THEN 'ja' END;
CREATE MACRO part_of(split) AS CASE
    WHEN lower(trim(split)) IN ('valid', 'val', 'dev') THEN 'validation'
    ELSE lower(trim(split))
END;

-- Programs that have no date write an instant before 1970, or in the first hours of it, whatever their zone.
CREATE MACRO first_instant() AS TIMESTAMP '1970-01-02';
CREATE MACRO since_1970(x) AS CASE WHEN x >= first_instant() THEN x END;

-- The time of the first of the actions among some rows; null, the time of the search, if one of them has none.
CREATE MACRO first_action(acts, moment) AS
    nullif(min(CASE WHEN acts THEN coalesce(since_1970(moment), TIMESTAMP '-infinity') END), TIMESTAMP '-infinity');

-- True for an action from `until` on, or of a day that is left out: it is not known.
CREATE MACRO unknown_then(moment) AS coalesce(moment >= CAST(getvariable('until') AS TIMESTAMP), false)
    OR coalesce(list_contains(CAST(getvariable('without') AS DATE[]), CAST(moment AS DATE)), false);

-- The text that stands for a query that is blank, until it is written.
CREATE MACRO blank_query(name) AS chr(31) || 'blank' || chr(31) || name;
CREATE MACRO is_blank_query(x) AS starts_with(x, blank_query(''));

-- True if one has more characters: a value may be bytes in the wrong column, or a whole page in the search field.
CREATE MACRO any_longer(most, a, b, c, d, e, f) AS
    length(a) > most OR length(b) > most OR length(c) > most OR length(d) > most OR length(e) > most OR length(f) > most;
-- A value as reports show it, cut if it is long.
CREATE MACRO shortened(x) AS CASE WHEN length(x) > 100 THEN left(x, 100) || '…' ELSE x END;
