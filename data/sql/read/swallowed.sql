-- Quoted fields over several lines whose lines would be complete records by themselves: each line has as many separators as a record.
-- A field of column c lacks the c separators before it in its first line, and those behind it in its last.
WITH broken AS (
    SELECT unnest([$fields]) AS found FROM $reader WHERE $any_broken
),
parts AS (
    SELECT found.place AS place, list_filter(string_split(replace(replace(found.field, concat(chr(13), chr(10)), chr(10)), chr(13), chr(10)), chr(10)),
        lambda line, number: number = 1 OR line <> '') AS lines,
        len(found.field) - len(replace(found.field, chr(10), '')) AS breaks
    FROM broken
    WHERE contains(found.field, chr(10)) OR contains(found.field, chr(13))
),
records AS (
    SELECT lines, breaks, list_transform(lines[2:], lambda line: CASE WHEN prose(line, $separator) THEN NULL
        ELSE shape(split_part(line, $separator, 1)) END) AS shapes
    FROM parts
    WHERE len(lines) > 1 AND separators(lines[1], $separator) = $others - place AND separators(lines[-1], $separator) = place
        AND len(list_filter(lines[2:-2], lambda line: separators(line, $separator) <> $others)) = 0
    LIMIT 1000
),
known AS (
    SELECT list(DISTINCT shape($first)) AS shapes
    FROM $reader
    WHERE shape($first) IN (SELECT unnest(shapes) FROM records) AND NOT ($any_broken)
),
alike AS (
    SELECT records.lines[1] AS start, breaks, count(*) OVER () AS fields
    FROM records, known
    WHERE 2 * len(list_filter(records.shapes, lambda one: list_contains(known.shapes, one))) >= len(records.shapes)
)
-- In a file whose texts have several lines, a few short ones look like rows by chance.
SELECT start, breaks FROM alike
WHERE breaks >= 10 OR 2 * fields >= (SELECT count(*) FROM parts)
LIMIT 1
