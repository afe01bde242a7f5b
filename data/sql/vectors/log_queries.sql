SELECT query FROM read_parquet($log)
