-- In the order of the file that is written, so that results of a document that repeat in a search lie side by side.
CREATE TABLE merged_results AS
SELECT search_row, document_row, position, clicked, randomised
FROM checked_results
WHERE reason IS NULL
ORDER BY search_row, document_row;

-- Repeated results of a document in a search become one: clicked if any was clicked, at the position of the click.
CREATE TABLE repeated_results AS
WITH pairs AS (
    SELECT search_row, document_row, pair, lag(pair) OVER () AS before
    FROM (SELECT *, (CAST(search_row AS BIGINT) << 32) + document_row AS pair FROM merged_results)
)
SELECT search_row, document_row, count(*) AS copies,
    coalesce(min(position) FILTER (WHERE clicked), min(position)) AS position,
    bool_or(clicked) AS clicked,
    bool_and(randomised) AS randomised
FROM merged_results
SEMI JOIN (SELECT search_row, document_row FROM pairs WHERE before = pair) USING (search_row, document_row)
GROUP BY search_row, document_row;
