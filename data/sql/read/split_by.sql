CREATE TEMP VIEW raw_searches AS
SELECT search_id, $time AS searched_at, query, searcher_id, session_id, topic, city, region, country, language, $part AS split
FROM read_searches
