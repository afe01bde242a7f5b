-- The true grades of the pairs of the table `asked`; searches outside the training window are left out for every caller.
SELECT asked.search_row, asked.document_row, coalesce(truth.grade, 0)::FLOAT AS grade
FROM asked JOIN searches USING (search_row) JOIN documents USING (document_row)
LEFT JOIN truth USING (search_id, document_id)
WHERE split = 'train'
ORDER BY asked.search_row, asked.document_row
