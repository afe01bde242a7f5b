SELECT table_name, read, kept FROM counted ORDER BY table_name
