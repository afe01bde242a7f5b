-- Every action on a result, a row for each.
CREATE VIEW raw_actions AS SELECT search_id, document_id, unnest(actions) AS action, acted_at FROM read_results;
-- A row for each action of a result is a form of log, and no row of these is lost.
INSERT INTO harmless VALUES ('the same document again in the same search');
