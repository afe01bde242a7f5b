INSERT INTO user_columns VALUES (?, ?, ?)
