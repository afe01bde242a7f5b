SELECT validation_from, test_from FROM cuts
