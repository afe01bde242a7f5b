-- The searches whose results are rated, from the training window alone: one for each (query, searcher), at most $most of them, chosen
-- by a hash of their identity.
SELECT search_row
FROM (
    SELECT search_row, search_id
    FROM searches
    WHERE split = 'train'
    QUALIFY row_number() OVER (PARTITION BY query_row, searcher_row ORDER BY md5(search_id), search_row) = 1
    ORDER BY md5(search_id), search_row
    LIMIT $most
)
ORDER BY search_row
