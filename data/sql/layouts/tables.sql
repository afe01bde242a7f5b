-- The five plain tables are the raw tables; the split is by time.
CREATE VIEW raw_searches AS SELECT *, CAST(NULL AS VARCHAR) AS split FROM read_searches;
CREATE VIEW raw_results AS SELECT * FROM read_results;
CREATE VIEW raw_documents AS SELECT * FROM read_documents;
CREATE VIEW raw_edges AS SELECT * FROM read_edges;
CREATE VIEW raw_judgements AS SELECT * FROM read_judgements;
