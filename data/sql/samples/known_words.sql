-- The vocabulary of the training window: every word of its queries and of the titles that existed then.
SELECT DISTINCT unnest(words(text)) AS word
FROM (
    SELECT query AS text FROM queries WHERE query_row IN (SELECT query_row FROM searches WHERE split = 'train')
    UNION ALL
    SELECT title FROM documents, (SELECT max(searched_at) AS last_at FROM searches WHERE split = 'train')
    WHERE created_at IS NULL OR created_at <= last_at
)
ORDER BY word
