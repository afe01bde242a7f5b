CREATE VIEW read_$table AS SELECT $columns WHERE false
