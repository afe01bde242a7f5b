-- The searches of the training window.
SELECT search_row FROM searches WHERE split = 'train' ORDER BY search_row
