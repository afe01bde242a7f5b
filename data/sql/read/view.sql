CREATE VIEW read_$table AS SELECT $columns FROM $reader
