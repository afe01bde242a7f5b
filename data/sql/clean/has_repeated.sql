SELECT count(*) FROM repeated_results
