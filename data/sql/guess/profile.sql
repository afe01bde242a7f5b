-- What the values of a column look like: one row. Blank texts count as null.
WITH texts AS (SELECT nullif(trim(CAST($column AS VARCHAR)), '') AS x FROM "$table")
SELECT count(*) AS rows, count(x) AS filled, count(DISTINCT x) AS distinct_values,
    count(*) FILTER (WHERE contains(x, ' ')) AS spaced,
    count(*) FILTER (WHERE time_from_text(x) IS NOT NULL AND TRY_CAST(x AS DOUBLE) IS NULL) AS times,
    count(TRY_CAST(x AS DOUBLE)) AS numbers,
    count(*) FILTER (WHERE TRY_CAST(x AS DOUBLE) = trunc(TRY_CAST(x AS DOUBLE))) AS wholes,
    count(flag_from_text(x)) AS flags,
    min(TRY_CAST(x AS DOUBLE)) AS low, max(TRY_CAST(x AS DOUBLE)) AS high,
    [count(*) FILTER (WHERE contains(x, '>')), count(*) FILTER (WHERE contains(x, '|')), count(*) FILTER (WHERE contains(x, '/')),
        count(*) FILTER (WHERE contains(x, ';')), count(*) FILTER (WHERE contains(x, ','))] AS separated
FROM texts
