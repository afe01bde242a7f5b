COPY (SELECT * $casts FROM ($query)) TO $out (FORMAT parquet)
