CREATE TABLE cuts AS
SELECT CAST(getvariable('validation_from') AS TIMESTAMP) AS validation_from,
    CAST(getvariable('test_from') AS TIMESTAMP) AS test_from;
