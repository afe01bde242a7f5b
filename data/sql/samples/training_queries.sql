-- The query texts of the training window.
SELECT DISTINCT query_row FROM searches WHERE split = 'train' ORDER BY query_row
