CREATE TABLE "$table" AS SELECT * FROM $reader LIMIT $rows
