-- (lines without six fields, the first of them, lines whose rank is no whole number, the first such rank)
SELECT
    count(*) FILTER (WHERE len(fields) <> 6), first(array_to_string(fields, ' ')) FILTER (WHERE len(fields) <> 6),
    count(*) FILTER (WHERE len(fields) = 6 AND whole_from_text(fields[4]) IS NULL),
    first(fields[4]) FILTER (WHERE len(fields) = 6 AND whole_from_text(fields[4]) IS NULL),
    count(*)
FROM ($lines)
