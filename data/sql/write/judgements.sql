-- A judgement of a search takes precedence over one of its topic, and that over one of its query text.
WITH attached AS (
    SELECT search_row, document_row, grade, 1 AS place
    FROM checked_judgements JOIN numbered_searches USING (search_id) WHERE reason IS NULL
    UNION ALL
    SELECT search_row, document_row, grade, 2
    FROM checked_judgements JOIN numbered_searches USING (topic) WHERE reason IS NULL
    UNION ALL
    SELECT search_row, document_row, grade, 3
    FROM checked_judgements JOIN numbered_searches USING (query) WHERE reason IS NULL
)
SELECT search_row, document_row, arg_min(grade, place) AS grade
FROM attached
GROUP BY search_row, document_row
ORDER BY search_row, document_row
