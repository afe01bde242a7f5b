-- A line that has another number of fields than the header, if quotes are text.
SELECT line, fields
FROM (SELECT line, len(line) - len(replace(line, $separator, '')) + 1 AS fields FROM $lines)
WHERE line <> '' AND fields <> ?
LIMIT 1
