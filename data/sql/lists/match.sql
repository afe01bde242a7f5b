-- What became of a list for the sampled searches. shown: of the documents alive that the log shows in searches that the list covers,
-- the share that is among as many first documents of the list.
WITH covered AS (SELECT DISTINCT search_row FROM listed WHERE rank IS NOT NULL),
shown AS (
    SELECT search_row, document_row, count(*) OVER (PARTITION BY search_row) AS length
    FROM results SEMI JOIN covered USING (search_row) SEMI JOIN candidates USING (document_row)
)
SELECT
    (SELECT count(*) FROM sampled)::BIGINT AS searches,
    (SELECT count(*) FROM covered)::BIGINT AS covered,
    (SELECT count(*) FROM listed WHERE rank IS NULL)::BIGINT AS without_rank,
    (SELECT count(*) FROM listed ANTI JOIN candidates USING (document_row) WHERE rank IS NOT NULL)::BIGINT AS not_alive,
    (SELECT avg((place IS NOT NULL AND place <= length)::INTEGER) FROM shown LEFT JOIN placed USING (search_row, document_row)) AS shown
