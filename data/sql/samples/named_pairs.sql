-- The pairs of the table `asked` as people read them.
SELECT search_id, document_id, rank, query, title, body, documents.kind,
    searches.city AS searcher_city, searches.region AS searcher_region, searches.country AS searcher_country,
    searches.language AS searcher_language, documents.city, documents.region, documents.country, documents.language
FROM asked JOIN searches USING (search_row) JOIN queries USING (query_row) JOIN documents USING (document_row)
WHERE split = 'train'
ORDER BY asked.search_row, rank
