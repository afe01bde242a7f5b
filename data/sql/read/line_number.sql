-- The first line that ends with a text.
SELECT number
FROM (SELECT line, row_number() OVER () AS number FROM $lines)
WHERE ends_with(rtrim(line, chr(13)), ?)
LIMIT 1
