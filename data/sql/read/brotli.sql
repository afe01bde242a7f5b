-- Reads the footers alone: nothing is decompressed yet.
SELECT file_name FROM parquet_metadata($files) WHERE compression = 'BROTLI' LIMIT 1
