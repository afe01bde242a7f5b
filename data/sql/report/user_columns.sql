-- The columns of some tables that have another name in the user's files.
SELECT column_name, min(name) FROM user_columns WHERE list_contains(CAST(? AS VARCHAR[]), table_name) GROUP BY column_name
