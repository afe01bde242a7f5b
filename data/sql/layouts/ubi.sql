-- As if the log ended at `until`: a late click was not known then, either.
CREATE VIEW known_events AS SELECT * FROM read_events WHERE NOT unknown_then(timestamp);

-- Events that belong to a query. Actions other than clicks and impressions still give the session.
CREATE TABLE query_events AS
SELECT query_id, session_id, timestamp,
    id_from_text(event_attributes ->> '$.object.object_id') AS document_id,
    whole_from_text(event_attributes ->> '$.position.ordinal') AS ordinal,
    CASE
        WHEN list_contains(CAST(getvariable('click_actions') AS VARCHAR[]), action_name) THEN 'click'
        WHEN action_name = 'impression' THEN 'impression'
    END AS action,
    CASE WHEN list_contains(CAST(getvariable('weighed_actions') AS VARCHAR[]), action_name) THEN action_name END AS weighed
FROM known_events
WHERE query_id IS NOT NULL;

INSERT INTO dropped
SELECT 'events', 'query_id is missing', count(*), [] FROM known_events WHERE query_id IS NULL;

INSERT INTO dropped
SELECT 'events', CASE
    WHEN getvariable('weighed_actions') IS NULL THEN 'neither a click nor an impression'
    ELSE 'neither an impression nor an action with a weight'
END, count(*), min(shortened(query_id), 3) FROM query_events WHERE action IS NULL;

INSERT INTO dropped
SELECT 'events', 'object_id is missing', count(*), min(shortened(query_id), 3)
FROM query_events
WHERE action IS NOT NULL AND document_id IS NULL;

INSERT INTO dropped
SELECT 'events', 'the same action on the same document again', sum(times - 1), min(shortened(query_id || ' / ' || document_id), 3)
FROM (
    SELECT query_id, document_id, count(*) AS times
    FROM query_events
    WHERE action IS NOT NULL AND document_id IS NOT NULL
    GROUP BY query_id, document_id, action, weighed
)
WHERE times > 1
HAVING count(*) > 0;

INSERT INTO counted
SELECT 'events', (SELECT count(*) FROM known_events), count(DISTINCT (query_id, document_id, action, weighed))
FROM query_events
WHERE action IS NOT NULL AND document_id IS NOT NULL;

CREATE VIEW raw_searches AS
SELECT query_id AS search_id, timestamp AS searched_at, user_query AS query, client_id AS searcher_id, session_id,
    query_attributes ->> '$.topic' AS topic,
    CAST(NULL AS VARCHAR) AS city, CAST(NULL AS VARCHAR) AS region, CAST(NULL AS VARCHAR) AS country,
    CAST(NULL AS VARCHAR) AS language, CAST(NULL AS VARCHAR) AS split
FROM read_queries
LEFT JOIN (SELECT query_id, min(session_id) AS session_id FROM query_events GROUP BY query_id) USING (query_id);

-- 1 if positions of events start at 0: every list of impressions does, or, without such lists, every click is one before its place.
SET VARIABLE shift = (
    SELECT coalesce(
        (SELECT bool_and(first = 0) FROM (
            SELECT min(ordinal) AS first FROM query_events WHERE action = 'impression' AND ordinal IS NOT NULL GROUP BY query_id
        )),
        (SELECT bool_and(ordinal = place - 1) FROM query_events JOIN (
            SELECT query_id, unnest(json_extract_string(query_response_hit_ids, '$[*]')) AS document_id,
                generate_subscripts(json_extract_string(query_response_hit_ids, '$[*]'), 1) AS place
            FROM read_queries
        ) USING (query_id, document_id) WHERE action = 'click' AND ordinal IS NOT NULL),
        false
    )::INTEGER
);

-- Documents that the engine returned, or that the page reported as seen, were shown. A click on another document has no position.
CREATE TABLE raw_results AS
WITH hits AS (
    SELECT query_id, id_from_text(unnest(json_extract_string(query_response_hit_ids, '$[*]'))) AS document_id,
        generate_subscripts(json_extract_string(query_response_hit_ids, '$[*]'), 1) AS place
    FROM read_queries
),
seen AS (
    SELECT query_id, document_id, place, CAST(NULL AS BIGINT) AS reported, CAST(NULL AS BIGINT) AS of_click,
        true AS shown, false AS clicked, CAST(NULL AS TIMESTAMP) AS acted_at
    FROM hits
    UNION ALL
    SELECT query_id, document_id, NULL, CASE WHEN action = 'impression' THEN ordinal + getvariable('shift') END,
        CASE WHEN action = 'click' THEN ordinal + getvariable('shift') END, action = 'impression', action = 'click',
        timestamp
    FROM query_events
    WHERE action IS NOT NULL AND document_id IS NOT NULL
)
SELECT query_id AS search_id, document_id,
    CASE WHEN bool_or(shown) THEN coalesce(min(reported), min(place), min(of_click)) END AS position,
    bool_or(clicked) AS clicked, CAST(NULL AS BOOLEAN) AS randomised, first_action(clicked, acted_at) AS acted_at
FROM seen
GROUP BY query_id, document_id;

CREATE VIEW raw_documents AS SELECT * FROM read_documents;
CREATE VIEW raw_edges AS FROM no_edges;
CREATE VIEW raw_judgements AS SELECT * FROM read_judgements;
