-- Lines of other lengths, and ranks that are no whole numbers, are refused before this view is read.
CREATE VIEW "read_$table" AS
SELECT fields[1] AS search_id, CAST(NULL AS VARCHAR) AS query, fields[3] AS document_id, whole_from_text(fields[4]) AS rank
FROM ($lines)
