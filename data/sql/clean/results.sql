-- Identities become rows here, so that a result takes a few bytes. Only dropped results keep their texts.
CREATE TABLE checked_results AS
WITH looked_at AS (
    SELECT search_row, document_row, position, clicked, randomised, acted_at,
        CASE
            WHEN raw.search_id IS NULL THEN 'search_id is missing'
            WHEN raw.document_id IS NULL THEN 'document_id is missing'
            WHEN clicked IS NULL THEN 'clicked is missing'
            WHEN search_row IS NULL THEN 'no such search, or it was dropped'
            WHEN document_row IS NULL THEN 'no such document, or it was dropped'
            WHEN position NOT BETWEEN 0 AND 2147483646 THEN 'position is below 1 or absurd'
            WHEN clicked AND acted_at > TIMESTAMP '2100-01-01' THEN 'acted_at is after 2100'
        END AS reason,
        raw.search_id, raw.document_id
    FROM raw_results AS raw
    LEFT JOIN numbered_searches USING (search_id)
    LEFT JOIN numbered_documents USING (document_id)
)
SELECT search_row, document_row, TRY_CAST(position AS INTEGER) AS position, clicked, randomised, acted_at, reason,
    CASE WHEN reason IS NOT NULL THEN shortened(concat_ws(' / ', search_id, document_id)) END AS example
FROM looked_at;
