CREATE VIEW "read_$table" AS $selects
