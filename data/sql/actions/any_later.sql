SELECT count(*) FROM (
    SELECT 1 FROM timed_actions JOIN numbered_searches USING (search_row) WHERE timed_actions.acted_at > searched_at LIMIT 1
)
