-- Of the documents alive that were shown in random order in searches that the list covers, the share among the list's first $k.
SELECT avg((place IS NOT NULL AND place <= $k)::INTEGER) AS share
FROM results
SEMI JOIN (
    SELECT search_row FROM results GROUP BY search_row HAVING bool_and(coalesce(randomised, false))
) USING (search_row)
SEMI JOIN listed USING (search_row)
SEMI JOIN candidates USING (document_row)
LEFT JOIN placed USING (search_row, document_row)
