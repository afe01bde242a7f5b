SELECT filename, count(*) FILTER (WHERE line <> ''), count(*) FILTER (WHERE coalesce(line, '') = ''),
    count(*) FILTER (WHERE contains(line, '"'))
FROM $lines
GROUP BY filename
