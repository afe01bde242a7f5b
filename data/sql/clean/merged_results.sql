-- Repeated results of a document in a search become one: clicked if any was clicked, at the position of the click.
CREATE TABLE repeated_results AS
SELECT search_row, document_row, count(*) AS copies,
    coalesce(min(position) FILTER (WHERE clicked), min(position)) AS position,
    bool_or(clicked) AS clicked,
    bool_and(randomised) AS randomised
FROM checked_results SEMI JOIN (
    SELECT search_row, document_row FROM checked_results WHERE reason IS NULL GROUP BY ALL HAVING count(*) > 1
) USING (search_row, document_row)
WHERE reason IS NULL
GROUP BY search_row, document_row;

-- In the order of the file that is written.
CREATE TABLE merged_results AS
SELECT search_row, document_row, position, clicked, randomised
FROM checked_results
WHERE reason IS NULL AND (search_row, document_row) NOT IN (SELECT (search_row, document_row) FROM repeated_results)
UNION ALL
SELECT search_row, document_row, position, clicked, randomised FROM repeated_results
ORDER BY search_row, document_row;

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
