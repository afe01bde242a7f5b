-- A line that has another number of fields than the header, if quotes are text.
SELECT line FROM $lines WHERE line <> '' AND len(line) - len(replace(line, $separator, '')) + 1 <> ? LIMIT 1
