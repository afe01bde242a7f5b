SELECT read, kept FROM counted WHERE table_name = ?
