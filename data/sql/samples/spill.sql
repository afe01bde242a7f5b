-- What does not fit into a gigabyte is sorted in that folder.
SET memory_limit = '1GB';
SET temp_directory = ?
