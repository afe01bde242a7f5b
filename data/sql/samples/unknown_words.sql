-- The words of the sampled queries that do not occur in the training window.
SELECT query_row, word
FROM (
    SELECT query_row, unnest(words(query)) AS word
    FROM queries
    WHERE query_row IN (SELECT query_row FROM searches WHERE search_row IN (SELECT search_row FROM targets))
)
WHERE word NOT IN (SELECT word FROM known_words)
GROUP BY query_row, word
ORDER BY word, query_row
