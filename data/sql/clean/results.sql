-- Identities become rows here, so that a result takes a few bytes. Only dropped results keep their texts.
CREATE TABLE checked_results AS
WITH looked_at AS (
    SELECT search_row, document_row, position, clicked, randomised,
        CASE
            WHEN raw.search_id IS NULL THEN 'search_id is missing'
            WHEN raw.document_id IS NULL THEN 'document_id is missing'
            WHEN clicked IS NULL THEN 'clicked is missing'
            WHEN search_row IS NULL THEN 'no such search, or it was dropped'
            WHEN document_row IS NULL THEN 'no such document, or it was dropped'
            WHEN position NOT BETWEEN 1 AND 2147483647 THEN 'position is below 1 or absurd'
        END AS reason,
        raw.search_id, raw.document_id
    FROM raw_results AS raw
    LEFT JOIN numbered_searches USING (search_id)
    LEFT JOIN numbered_documents USING (document_id)
)
SELECT search_row, document_row, TRY_CAST(position AS INTEGER) AS position, clicked, randomised, reason,
    CASE WHEN reason IS NOT NULL THEN shortened(concat_ws(' / ', search_id, document_id)) END AS example
FROM looked_at;

-- Repeated results of a document in a search become one: clicked if any was clicked, at the position of the click.
CREATE TABLE merged_results AS
SELECT search_row, document_row,
    coalesce(min(position) FILTER (WHERE clicked), min(position)) AS position,
    bool_or(clicked) AS clicked,
    bool_and(randomised) AS randomised,
    count(*) AS copies
FROM checked_results
WHERE reason IS NULL
GROUP BY search_row, document_row;

INSERT INTO dropped
SELECT 'results', reason, count(*), min(example, 3)
FROM checked_results
WHERE reason IS NOT NULL
GROUP BY reason;

INSERT INTO dropped
SELECT 'results', 'the same document again in the same search', sum(copies - 1),
    min(shortened(search_id || ' / ' || document_id), 3)
FROM merged_results
JOIN numbered_searches USING (search_row)
JOIN numbered_documents USING (document_row)
WHERE copies > 1
HAVING count(*) > 0;

INSERT INTO counted
SELECT 'results', (SELECT count(*) FROM checked_results), (SELECT count(*) FROM merged_results);
