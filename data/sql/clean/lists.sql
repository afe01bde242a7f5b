-- The results of each search: shown, clicked, with a position, with one below 63, and a bit for each of those positions.
CREATE TABLE result_lists AS
SELECT search_row, count(*) AS shown, count(*) FILTER (WHERE clicked) AS clicks, count(position) AS placed,
    count(*) FILTER (WHERE position < 63) AS low,
    bit_or(CASE WHEN position < 63 THEN CAST(1 AS BIGINT) << position END) AS low_positions
FROM merged_results
GROUP BY search_row;

INSERT INTO dropped
SELECT 'results', reason, count(*), min(example, 3)
FROM checked_results
WHERE reason IS NOT NULL
GROUP BY reason;

INSERT INTO dropped
SELECT 'results', 'the same document again in the same search', sum(copies - 1),
    min(shortened(search_id || ' / ' || document_id), 3)
FROM repeated_results
JOIN numbered_searches USING (search_row)
JOIN numbered_documents USING (document_row)
HAVING count(*) > 0;

INSERT INTO counted
SELECT 'results', (SELECT count(*) FROM checked_results), (SELECT count(*) FROM merged_results);
