-- If rankers are trained, sessions that begin in the later half of the validation's searches are a part of their own, `ranking`.
-- Searches of earlier sessions after that cut are left out. The cut is the session start nearest to a half.
CREATE OR REPLACE TEMP TABLE halves AS
WITH sessions AS (
    SELECT session_row, min(searched_at) AS started_at, count(*) AS searches
    FROM usable WHERE split = 'validation' GROUP BY session_row
),
shares AS (
    SELECT started_at, row_number() OVER (ORDER BY started_at) AS place,
        sum(sum(searches)) OVER (ORDER BY started_at DESC) / sum(sum(searches)) OVER () AS share
    FROM sessions GROUP BY started_at
),
cut AS (
    SELECT started_at AS ranking_from FROM shares WHERE place >= 2 ORDER BY abs(share - 0.5), started_at DESC LIMIT 1
)
SELECT session_row, started_at >= ranking_from AS second, ranking_from FROM sessions, cut;
CREATE OR REPLACE TEMP VIEW searches AS
SELECT usable.* REPLACE (CASE WHEN halves.second THEN 'ranking' ELSE split END AS split)
FROM usable LEFT JOIN halves USING (session_row)
WHERE NOT coalesce(split = 'validation' AND NOT halves.second AND searched_at >= ranking_from, false)
