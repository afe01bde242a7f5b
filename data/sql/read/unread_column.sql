INSERT INTO unread_columns VALUES (?, ?)
