-- Fails at the first line that has more or fewer fields than the header.
SELECT count(*)
FROM read_csv($files, auto_detect = false, header = true, delim = $between, quote = '"', escape = '"', columns = $columns)
