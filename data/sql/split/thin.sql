-- For an audit alone: a share of the training sessions is kept, by a hash of their first search, so that a smaller share is a subset
-- of a larger one. The other sessions are in no part.
UPDATE parts SET split = 'unused'
WHERE split = 'train' AND session_row IN (
    SELECT session_row
    FROM (
        SELECT session_row, row_number() OVER (ORDER BY md5(first_id || ' '), first_id) / count(*) OVER () AS place
        FROM (
            SELECT session_row, arg_min(search_id, search_row) AS first_id
            FROM parts JOIN numbered_searches USING (search_row) WHERE parts.split = 'train'
            GROUP BY session_row
        )
    )
    WHERE place > getvariable('train_share')
)
