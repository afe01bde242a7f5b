-- The actions on results of the training window, the most frequent first.
SELECT action, count(*) AS results
FROM actions JOIN searches USING (search_row)
WHERE split = 'train'
GROUP BY action
ORDER BY results DESC, action
