-- Reads every value, to find the table or file that cannot be read.
SELECT bit_xor(hash(COLUMNS(*))) FROM $reader
