CREATE TABLE parts AS
SELECT search_row, session_row, CASE
    WHEN started_at >= test_from THEN 'test'
    WHEN started_at >= validation_from THEN 'validation'
    ELSE 'train'
END AS split
FROM sessions, cuts;
