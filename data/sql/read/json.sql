-- Everything is text, nested values are their JSON: types that fit a sample of the file may not fit the rest.
read_json($files, columns = $columns$options)
