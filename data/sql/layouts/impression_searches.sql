-- Rows of one searcher (or, where nobody is signed in, of one session) with the same query belong to one search while they follow each
-- other within the gap: the pages of a list, and late clicks. After a longer gap the same query is another search. Without a searcher
-- and a session only rows of the same instant belong together. A search_id that the log gives stays.
-- Rows from `until` on are not there: late clicks and pages of a search that began before it were not known then.
CREATE VIEW read_searched AS
WITH keyed AS (
    SELECT *, coalesce('u' || searcher_id, 's' || session_id) AS who, lower(trimmed(query)) AS form
    FROM read_impressions
    WHERE searched_at < coalesce(CAST(getvariable('until') AS TIMESTAMP), TIMESTAMP 'infinity') OR searched_at IS NULL
),
begun AS (
    SELECT *, coalesce(searched_at - lag(searched_at) OVER same_query
        <= CASE WHEN who IS NULL THEN INTERVAL 0 SECOND ELSE to_seconds(getvariable('search_gap') * 60) END, false) AS follows
    FROM keyed
    WINDOW same_query AS (PARTITION BY who, form ORDER BY searched_at)
),
numbered AS (
    SELECT *, count(*) FILTER (WHERE NOT follows) OVER (PARTITION BY who, form ORDER BY searched_at) AS number
    FROM begun
)
SELECT * EXCLUDE (search_id, who, form, follows, number), search_id IS NULL AS is_derived, search_id IS NULL AND who IS NULL AS by_instant,
    coalesce(search_id, md5(concat_ws(chr(31), coalesce(who, ''), coalesce(form, ''),
        min(searched_at) OVER (PARTITION BY who, form, number)))) AS search_id
FROM numbered;
