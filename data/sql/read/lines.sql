read_csv(
    $files, auto_detect = false, header = false, delim = $separator, quote = '', escape = '', comment = '', strict_mode = $strict,
    columns = {'line': 'VARCHAR'}, filename = true, hive_partitioning = false
)
