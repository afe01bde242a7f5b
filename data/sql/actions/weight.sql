INSERT INTO action_weights VALUES (?, ?, ?)
