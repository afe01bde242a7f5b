read_csv($files, all_varchar = true, header = true, union_by_name = true)
