SELECT $columns FROM $reader
