read_csv($files, all_varchar = true, header = true, skip = 0, comment = '', union_by_name = true, delim = '\t'$options)
