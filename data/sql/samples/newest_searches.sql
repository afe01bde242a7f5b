-- For each asked form of a query and searcher, the newest search of the training window: by that searcher if there is one, else by anybody.
SELECT asked.form, asked.searcher_id, search_id
FROM asked
JOIN forms USING (form)
JOIN searches USING (query_row)
LEFT JOIN (SELECT searcher_row, searcher_id AS known_as FROM searchers) AS known USING (searcher_row)
WHERE split = 'train'
QUALIFY row_number() OVER (
    PARTITION BY asked.form, asked.searcher_id
    ORDER BY coalesce(known_as = asked.searcher_id, false) DESC, searched_at DESC, search_row DESC
) = 1
