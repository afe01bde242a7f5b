-- Every row of a ranked list, with the rows that it names (a query by its folded text), and the first reason to leave it out, or null.
CREATE TEMP TABLE checked_list AS
WITH keyed AS (
    SELECT search_id, CASE WHEN search_id IS NULL THEN filled(query) END AS query, document_id, rank FROM "read_$table"
),
looked_at AS (
    SELECT keyed.*, search_row, known.query_row, document_row,
        CASE
            WHEN coalesce(keyed.search_id, keyed.query) IS NULL THEN 'neither search_id nor query'
            WHEN keyed.document_id IS NULL THEN 'document_id is missing'
            WHEN rank IS NULL THEN 'rank is missing'
            WHEN rank < 0 THEN 'rank is below 0'
            WHEN keyed.search_id IS NOT NULL AND search_row IS NULL THEN 'no such search in the log'
            WHEN keyed.search_id IS NULL AND known.query_row IS NULL THEN 'nobody searched it'
            WHEN document_row IS NULL THEN 'no such document in the log'
        END AS fault
    FROM keyed
    LEFT JOIN (SELECT search_id, search_row FROM every_search) USING (search_id)
    LEFT JOIN list_forms USING (query)
    LEFT JOIN (SELECT query_row, form FROM queries JOIN log_forms USING (query)) AS known USING (form)
    LEFT JOIN (SELECT document_id, document_row FROM documents) USING (document_id)
)
SELECT * EXCLUDE fault, coalesce(fault, CASE
    WHEN row_number() OVER (PARTITION BY search_row, query_row, document_row, fault IS NULL ORDER BY rank) > 1
        THEN 'the same document again in the same search'
END) AS reason
FROM looked_at
