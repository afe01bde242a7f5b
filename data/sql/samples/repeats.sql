-- Of the sampled searches with a clicked target: the number whose query occurs in training, folded or nearly (the same words in
-- another order), and the number whose target was clicked in training for that query, by any or the same searcher.
WITH sampled AS (
    SELECT search_row, query_row, searcher_row FROM searches
    WHERE search_row IN (SELECT search_row FROM targets WHERE targets = 'clicked')
),
train AS (SELECT * FROM searches WHERE split = 'train'),
forms AS (SELECT query_row, list_sort(words(query)) AS form FROM queries),
answered AS (SELECT DISTINCT query_row, searcher_row, document_row FROM results JOIN train USING (search_row) WHERE clicked),
wanted AS (
    SELECT query_row, searcher_row, search_row, document_row
    FROM targets JOIN sampled USING (search_row) WHERE targets = 'clicked'
)
SELECT
    (SELECT count(*) FROM sampled)::BIGINT AS searches,
    (SELECT count(*) FROM sampled WHERE query_row IN (SELECT query_row FROM train))::BIGINT AS same_query,
    (
        SELECT count(*) FROM sampled JOIN forms USING (query_row)
        WHERE query_row NOT IN (SELECT query_row FROM train)
            AND form IN (SELECT form FROM forms WHERE query_row IN (SELECT query_row FROM train))
    )::BIGINT AS near_query,
    (
        SELECT count(DISTINCT search_row) FROM wanted SEMI JOIN answered USING (query_row, document_row)
    )::BIGINT AS same_answer,
    (
        SELECT count(DISTINCT search_row) FROM wanted SEMI JOIN answered USING (query_row, searcher_row, document_row)
    )::BIGINT AS same_searcher_and_answer,
    (SELECT count(*) FROM edges)::BIGINT AS edges,
    (SELECT count(*) FROM edges WHERE created_at IS NULL)::BIGINT AS undated_edges
