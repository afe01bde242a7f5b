read_json($files, union_by_name = true)
