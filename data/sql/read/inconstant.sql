-- Functions whose value is not decided by their arguments. DuckDB does not say so of two of its clocks, nor of macros that ask one.
SELECT DISTINCT function_name FROM duckdb_functions()
WHERE stability <> 'CONSISTENT' OR function_name IN ('current_localtime', 'current_localtimestamp')
    OR macro_definition LIKE '%current_timestamp%'
