-- Without times of searches, no date of a document or an edge is before or after anything.
CREATE TEMP VIEW raw_documents AS
SELECT * REPLACE (CAST(NULL AS TIMESTAMP) AS created_at, CAST(NULL AS TIMESTAMP) AS removed_at) FROM memory.main.raw_documents;

CREATE TEMP VIEW raw_edges AS SELECT * REPLACE (CAST(NULL AS TIMESTAMP) AS created_at) FROM memory.main.raw_edges;
