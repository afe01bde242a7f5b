-- Sorts that do not fit into a gigabyte of memory use this folder.
SET memory_limit = '1GB';
SET temp_directory = ?
