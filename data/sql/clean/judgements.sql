CREATE TABLE keyed_judgements AS
SELECT search_id, CASE WHEN search_id IS NULL THEN filled(topic) END AS topic,
    CASE WHEN search_id IS NULL AND filled(topic) IS NULL THEN filled(query) END AS query, document_id, grade
FROM raw_judgements;

-- A judgement of a query or a topic applies to each of its searches.
CREATE TABLE known_judgements AS
WITH keys AS (
    SELECT search_id, topic, query FROM numbered_searches WHERE EXISTS (FROM keyed_judgements)
)
SELECT judgement.*, document_row,
    search_id IN (SELECT search_id FROM keys)
        OR topic IN (SELECT topic FROM keys WHERE topic IS NOT NULL)
        OR query IN (SELECT query FROM keys) AS searched
FROM keyed_judgements AS judgement
LEFT JOIN numbered_documents USING (document_id);

CREATE TABLE checked_judgements AS
WITH looked_at AS (
    SELECT *, CASE
        WHEN coalesce(search_id, topic, query) IS NULL THEN 'no search_id, topic or query'
        WHEN document_id IS NULL THEN 'document_id is missing'
        WHEN grade IS NULL THEN 'grade is missing'
        WHEN grade < 0 THEN 'grade is below 0'
        WHEN TRY_CAST(grade AS REAL) IS NULL THEN 'grade is absurd'
        WHEN searched IS NOT TRUE THEN 'nobody searched it'
        WHEN document_row IS NULL THEN 'no such document, or it was dropped'
    END AS fault
    FROM known_judgements
)
SELECT * EXCLUDE fault, coalesce(fault, CASE
    WHEN row_number() OVER (PARTITION BY search_id, topic, query, document_row, fault IS NULL ORDER BY grade DESC) > 1
        THEN 'judged before, as high or higher'
END) AS reason
FROM looked_at;

INSERT INTO dropped
SELECT 'judgements', reason, count(*), min(shortened(concat_ws(' / ', search_id, topic, query, document_id)), 3)
FROM checked_judgements
WHERE reason IS NOT NULL
GROUP BY reason;

INSERT INTO counted
SELECT 'judgements', count(*), count(*) FILTER (WHERE reason IS NULL)
FROM checked_judgements;
