-- Functions whose value is not decided by their arguments.
SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'
