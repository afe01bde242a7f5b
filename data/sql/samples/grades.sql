-- The grades of the judgements, the highest first.
SELECT DISTINCT grade FROM judgements ORDER BY grade DESC
