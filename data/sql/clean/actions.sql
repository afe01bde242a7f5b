-- The actions of events, the most frequent first.
SELECT coalesce(action_name, 'none') AS action, count(*) AS events FROM known_events GROUP BY action ORDER BY events DESC, action
