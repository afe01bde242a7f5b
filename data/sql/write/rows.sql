COPY (FROM read_$table) TO $out (FORMAT parquet, COMPRESSION zstd)
