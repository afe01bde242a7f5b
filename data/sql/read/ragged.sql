-- Fails at the first line that does not have as many fields as the header.
SELECT count(*)
FROM read_csv($files, auto_detect = false, header = true, delim = $between, quote = '"', escape = '"', columns = $columns)
