-- Every action on a result, a row for each.
CREATE VIEW raw_actions AS SELECT search_id, document_id, unnest(actions) AS action, coalesce(since_1970(acted_at), searched_at) AS acted_at
FROM shown;
