-- The number of kept rows with a value: one row, with one field for each optional column of a table.
SELECT
    (SELECT {
        searcher_id: count(searcher_id), session_id: count(session_id), topic: count(topic), city: count(city),
        region: count(region), country: count(country), language: count(language)
    } FROM numbered_searches) AS searches,
    (SELECT {position: count(position), randomised: count(randomised)} FROM merged_results) AS results,
    (SELECT {
        title: count(nullif(title, '')), body: count(body), kind: count(kind), city: count(city), region: count(region),
        country: count(country), language: count(language), created_at: count(created_at),
        removed_at: count(removed_at)
    } FROM checked_documents WHERE reason IS NULL) AS documents,
    (SELECT {kind: count(kind), weight: count(weight), created_at: count(created_at)}
     FROM checked_edges WHERE reason IS NULL) AS edges,
    (SELECT count(*) FROM merged_results WHERE NOT clicked) AS not_clicked,
    (SELECT count(*) FROM merged_results WHERE randomised) AS randomised,
    (SELECT count(*) FROM numbered_searches WHERE coalesce(city, region, country) IS NOT NULL) AS placed_searches,
    (SELECT count(*) FROM checked_documents WHERE reason IS NULL AND coalesce(city, region, country) IS NOT NULL)
        AS placed_documents
