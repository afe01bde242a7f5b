-- Every action on a result, a row for each.
CREATE VIEW raw_actions AS SELECT search_id, document_id, unnest(actions) AS action FROM shown;
