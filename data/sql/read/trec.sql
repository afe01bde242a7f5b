-- The fields of each line of TREC runs, between white space: search, Q0, document, rank, score, tag. No field may hold the separator
-- that is named here, so a line is one column.
SELECT regexp_split_to_array(trimmed(line), '\s+') AS fields
FROM read_csv(
    $files, columns = {'line': 'VARCHAR'}, auto_detect = false, header = false, delim = '$separator', quote = '', escape = '',
    comment = '', strict_mode = false
)
WHERE trimmed(line) <> ''
