-- The parts that searches name, with their rows.
SELECT left(split, 100) AS part, count(*) FROM raw_searches GROUP BY part ORDER BY part NULLS FIRST
