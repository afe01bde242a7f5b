-- Reads every value, to see which table or file it is that cannot be read.
SELECT bit_xor(hash(COLUMNS(*))) FROM $reader
