SELECT reason, rows, coalesce(examples, []) FROM dropped WHERE table_name = ? ORDER BY rows DESC, reason
