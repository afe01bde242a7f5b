read_parquet($files)
