-- Everything as text, nested values as their JSON: what a sample of the file suggests may not hold for the rest of it.
read_json($files, columns = $columns$options)
