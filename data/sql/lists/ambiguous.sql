-- The ranks that several documents of a search share: their number, and the first with its documents.
WITH shared AS (
    SELECT coalesce(search_id, query) AS search, rank, min(document_id, 2) AS documents
    FROM checked_list
    WHERE reason IS NULL
    GROUP BY search_row, query_row, coalesce(search_id, query), rank
    HAVING count(*) > 1
)
SELECT count(*), arg_min({search: search, rank: rank, documents: documents}, (search, rank)) FROM shared
