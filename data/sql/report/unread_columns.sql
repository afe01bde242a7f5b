SELECT DISTINCT table_name, column_name FROM unread_columns ORDER BY table_name, column_name
