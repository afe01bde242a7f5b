SELECT column_name, text, rows FROM null_texts ORDER BY column_name
