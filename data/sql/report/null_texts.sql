SELECT table_name, column_name, min(text), CAST(sum(rows) AS BIGINT) FROM null_texts GROUP BY ALL ORDER BY table_name, column_name
