-- The grades of the judgements, the highest first: one row.
SELECT list_reverse_sort(list(DISTINCT grade)) FROM raw_judgements WHERE grade IS NOT NULL
