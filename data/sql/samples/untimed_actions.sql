-- Every action has the time of its search, so a part knows all actions of its searches.
CREATE VIEW actions AS FROM logged_actions;
CREATE VIEW every_action AS SELECT *, CAST(NULL AS TIMESTAMP) AS acted_at, CAST(NULL AS VARCHAR) AS acted_in FROM logged_actions;
CREATE VIEW every_result AS SELECT *, CAST(NULL AS TIMESTAMP) AS acted_at FROM logged_results;
CREATE VIEW results AS FROM every_result
