SELECT count(*) FROM merged_results WHERE clicked
