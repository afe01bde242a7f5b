-- One row of counts for the notes.
SELECT
    coalesce(getvariable('shift'), 0) AS shift,
    (SELECT count(*) FROM result_lists WHERE placed > 0) AS lists,
    (
        SELECT count(*)
        FROM result_lists
        WHERE low > bit_count(low_positions) OR search_row IN (
            SELECT search_row FROM merged_results WHERE position >= 63 GROUP BY search_row, position HAVING count(*) > 1
        )
    ) AS shared_positions,
    coalesce(getvariable('by_instant'), 0) AS by_instant,
    coalesce(getvariable('acted_alone'), 0) AS acted_alone,
    getvariable('search_gap') AS search_gap,
    coalesce(NOT getvariable('has_clicked'), false) AS all_clicked,
    (SELECT count(*) FROM numbered_searches) AS searches,
    (SELECT count(*) FROM numbered_searches WHERE is_blank_query(query)) AS blank_queries,
    (SELECT count(*) FROM session_owners WHERE shared) AS shared_sessions,
    (SELECT count(DISTINCT session_id) FROM numbered_searches WHERE EXISTS (FROM session_owners WHERE shared)) AS session_ids,
    (SELECT count(*) FROM checked_documents WHERE reason = 'an earlier version of the document') AS versions,
    (SELECT count(*) FROM checked_documents WHERE zero_date) AS zero_dates,
    (SELECT count(*) FROM edge_searchers) AS friends,
    (SELECT count(*) FROM edge_searchers SEMI JOIN numbered_searches USING (searcher_id)) AS known_friends
