SELECT table_name, reason, rows, examples FROM dropped WHERE rows > 0 ORDER BY table_name, rows DESC, reason
