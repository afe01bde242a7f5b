read_parquet($files, union_by_name = true, binary_as_string = true$options)
