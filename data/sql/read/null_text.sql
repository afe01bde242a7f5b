INSERT INTO null_texts VALUES (?, ?, ?, ?)
