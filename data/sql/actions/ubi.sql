-- Every action on a result, a row for each, those included that belong to no query.
CREATE VIEW raw_actions AS
SELECT query_id AS search_id, id_from_text(event_attributes ->> '$.object.object_id') AS document_id, filled(action_name) AS action,
    timestamp AS acted_at
FROM known_events
WHERE lower(filled(action_name)) <> 'impression';
