UPDATE checked_results SET position = position + 1 WHERE position IS NOT NULL
