-- A user's SQL reads the files that were found in it and nothing else, writes into one folder, and has the same result on any machine.
SET TimeZone = 'UTC';
SET allowed_paths = $files;
SET allowed_directories = [$folder];
SET enable_external_access = $remote;
SET lock_configuration = true
