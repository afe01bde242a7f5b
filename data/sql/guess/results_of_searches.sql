"$results" AS results JOIN "$searches" AS searches ON id_from_text(CAST(results.$result_id AS VARCHAR)) = id_from_text(CAST(searches.$search_id AS VARCHAR))
