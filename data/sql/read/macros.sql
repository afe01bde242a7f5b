-- One macro for each (kind of column, family of types). The result is null if the value cannot be read; reading.py checks for those.
CREATE MACRO text_from_any(x) AS CAST(x AS VARCHAR);

-- Texts that other programs write where there is no value. NA alone is a place, too.
CREATE MACRO means_null(x) AS length(x) <= 11
    AND lower(trim(x)) IN ('', 'null', 'none', 'nan', 'nat', '<na>', '\n', '(null)', 'undefined', '#n/a');
CREATE MACRO odd_label(x) AS means_null(x) AND x <> '';
CREATE MACRO label_from_any(x) AS CASE WHEN means_null(CAST(x AS VARCHAR)) THEN NULL ELSE CAST(x AS VARCHAR) END;

-- An identity that means null, or is or was a float.
CREATE MACRO written_odd_id(x) AS regexp_matches(
    x, '^(\s*((?i)null|none|nan|nat|<na>|\\n|\(null\)|undefined|#n/a)?\s*|NA|N/A|-?\d+\.0+|-?\d(\.\d+)?[eE]\+\d+)$'
);
-- The same. Comparisons of the first letter and a search for '.' and '+' rule out nearly all identities in a fraction of the time.
CREATE MACRO odd_id(x) AS CASE
    WHEN x >= '0' AND x < ':' THEN CASE WHEN contains(x, '.') OR contains(x, '+') THEN written_odd_id(x) ELSE false END
    WHEN x >= 'v' OR (x >= 'a' AND x < 'n') OR (x >= 'o' AND x < 'u') OR (x >= 'A' AND x < 'N') THEN false
    ELSE written_odd_id(x)
END;
CREATE MACRO id_from_any(x) AS CAST(x AS VARCHAR);
-- Integers with gaps are often written as floats: 12.0 is the identity 12. A float from 2^53 on (2^24 in single precision) may have been
-- another integer before, and so may a number in powers of ten.
CREATE MACRO id_from_float(x, exact_below) AS CASE
    WHEN x = trunc(x) AND abs(x) < exact_below THEN CAST(TRY_CAST(x AS HUGEINT) AS VARCHAR)
END;
CREATE MACRO id_from_double(x) AS id_from_float(x, 9007199254740992);
CREATE MACRO id_from_single(x) AS id_from_float(x, 16777216);
CREATE MACRO id_from_decimal(x) AS CASE WHEN x = trunc(x) THEN CAST(TRY_CAST(x AS HUGEINT) AS VARCHAR) END;
CREATE MACRO id_from_text(x) AS CASE
    WHEN means_null(x) OR x = 'NA' OR x = 'N/A' OR (starts_with(x, ' ') AND trim(x) = '') THEN NULL
    WHEN ends_with(x, '0') AND regexp_matches(x, '^-?\d+\.0+$')
        THEN CASE WHEN abs(TRY_CAST(x AS DOUBLE)) < 9007199254740992 THEN split_part(x, '.', 1) END
    WHEN contains(x, '+') AND regexp_matches(x, '^-?\d(\.\d+)?[eE]\+\d+$') THEN NULL
    ELSE x
END;

-- Instants on any machine: a cast between a time with a zone and one without would use the machine's own zone.
SET TimeZone = 'UTC';
-- Years 1973 to 2100 in seconds, milliseconds, microseconds and nanoseconds have no number in common; the end of the year 9999 stands for
-- no end. 0 is the zero date.
CREATE MACRO time_from_whole(x) AS CASE
    WHEN x = 0 THEN TIMESTAMP '1970-01-01'
    WHEN x BETWEEN 253402214400 AND 253402300800 OR x BETWEEN 253402214400000 AND 253402300800000 THEN TIMESTAMP '9999-12-31'
    WHEN x BETWEEN 100000000 AND 4102444800 THEN make_timestamp(CAST(x * 1000000 AS BIGINT))
    WHEN x BETWEEN 100000000000 AND 4102444800000 THEN make_timestamp(CAST(x * 1000 AS BIGINT))
    WHEN x BETWEEN 100000000000000 AND 4102444800000000 THEN make_timestamp(CAST(x AS BIGINT))
    WHEN x BETWEEN 100000000000000000 AND 4102444800000000000 THEN make_timestamp(CAST(x // 1000 AS BIGINT))
END;
CREATE MACRO time_from_number(x) AS time_from_whole(TRY_CAST(x AS HUGEINT));
-- Seconds and milliseconds may have a fraction.
CREATE MACRO time_from_double(x) AS CASE
    WHEN x BETWEEN 100000000 AND 4102444800 THEN make_timestamp(CAST(round(x * 1000000) AS BIGINT))
    WHEN x BETWEEN 100000000000 AND 4102444800000 THEN make_timestamp(CAST(round(x * 1000) AS BIGINT))
    ELSE time_from_whole(TRY_CAST(trunc(x) AS HUGEINT))
END;
CREATE MACRO time_from_fraction(x) AS time_from_double(CAST(x AS DOUBLE));
CREATE MACRO time_from_trimmed(x) AS CASE
    WHEN regexp_matches(x, ':\d\d([.,]\d+)?\s*[+-]\d\d(:?\d\d)?$')
        THEN make_timestamp(epoch_us(TRY_CAST(x AS TIMESTAMPTZ)))
    WHEN regexp_matches(x, '^0000-00-00') THEN TIMESTAMP '0001-01-01'
    WHEN regexp_matches(x, '^\d{4}[-/]\d\d?[-/]\d\d?([T ]\s*\d\d?:\d\d(:\d\d(\.\d+)?)?)?\s*(Z|z|UTC|GMT)?$')
        THEN TRY_CAST(regexp_replace(x, '\s*(Z|z|UTC|GMT)$', '') AS TIMESTAMP)
    WHEN regexp_matches(x, '^\d+$') THEN time_from_whole(TRY_CAST(x AS HUGEINT))
    WHEN regexp_matches(x, '^\d+\.\d+$') THEN time_from_double(TRY_CAST(x AS DOUBLE))
END;
CREATE MACRO time_from_text(x) AS time_from_trimmed(trim(x, concat(' ', chr(9), chr(10), chr(13), chr(160))));
CREATE MACRO time_from_plain(x) AS CASE WHEN isfinite(CAST(x AS TIMESTAMP)) THEN CAST(x AS TIMESTAMP) END;
CREATE MACRO time_from_zoned(x) AS CASE WHEN isfinite(x) THEN make_timestamp(epoch_us(x)) END;
CREATE MACRO time_from_zoned_ns(x) AS make_timestamp(epoch_ns(x) // 1000);

CREATE MACRO flag_from_boolean(x) AS x;
CREATE MACRO flag_from_number(x) AS CASE x WHEN 0 THEN false WHEN 1 THEN true END;
CREATE MACRO flag_from_text(x) AS CASE
    WHEN lower(trim(x)) IN ('true', 't', 'yes', 'y', '1', '1.0') THEN true
    WHEN lower(trim(x)) IN ('false', 'f', 'no', 'n', '0', '0.0') THEN false
END;

CREATE MACRO whole_from_integer(x) AS CAST(x AS BIGINT);
CREATE MACRO whole_from_number(x) AS CASE WHEN x = trunc(x) THEN TRY_CAST(x AS BIGINT) END;
CREATE MACRO whole_from_text(x) AS CASE
    WHEN TRY_CAST(x AS DOUBLE) = trunc(TRY_CAST(x AS DOUBLE)) THEN TRY_CAST(x AS BIGINT)
END;
CREATE MACRO number_from_number(x) AS CASE WHEN isfinite(CAST(x AS DOUBLE)) THEN CAST(x AS DOUBLE) END;
-- By way of the text, so that 2.33 in single precision, or as a decimal, is the same number as 2.33 in a text.
CREATE MACRO number_from_written(x) AS CASE
    WHEN isfinite(TRY_CAST(CAST(x AS VARCHAR) AS DOUBLE)) THEN TRY_CAST(CAST(x AS VARCHAR) AS DOUBLE)
END;
CREATE MACRO number_from_text(x) AS CASE WHEN isfinite(TRY_CAST(x AS DOUBLE)) THEN TRY_CAST(x AS DOUBLE) END;

CREATE MACRO object_from_text(x) AS CASE
    WHEN json_valid(x) AND json_type(TRY_CAST(x AS JSON)) = 'OBJECT' THEN TRY_CAST(x AS JSON)
END;
CREATE MACRO object_from_nested(x) AS to_json(x);
CREATE MACRO list_from_text(x) AS CASE
    WHEN json_valid(x) AND json_type(TRY_CAST(x AS JSON)) = 'ARRAY' THEN TRY_CAST(x AS JSON)
END;
CREATE MACRO list_from_nested(x) AS to_json(x);

-- Several values in a cell: a list, or its JSON.
CREATE MACRO values_from_any(x) AS CASE
    WHEN starts_with(CAST(x AS VARCHAR), '[') AND json_valid(CAST(x AS VARCHAR))
        THEN json_extract_string(CAST(x AS VARCHAR), '$[*]')
    WHEN x IS NOT NULL THEN [CAST(x AS VARCHAR)]
END;
CREATE MACRO values_from_nested(x) AS list_transform(x, lambda one: CAST(one AS VARCHAR));

CREATE MACRO vector_from_text(x) AS TRY_CAST(x AS FLOAT[]);
CREATE MACRO vector_from_nested(x) AS TRY_CAST(x AS FLOAT[]);

CREATE MACRO type_from_text(x) AS CASE WHEN x IN ('searcher', 'document') THEN x WHEN lower(trim(x)) IN ('searcher', 'document') THEN lower(trim(x)) END;

-- Up to three values that cannot be read; texts that mean null are no such values. Cases within cases, because a FILTER or an AND would
-- compute everything for every row.
CREATE MACRO unread(x, value) AS min(CASE WHEN value IS NULL AND x IS NOT NULL THEN
    CASE WHEN NOT means_null(CAST(x AS VARCHAR)) AND CAST(x AS VARCHAR) NOT IN ('NA', 'N/A') AND trim(CAST(x AS VARCHAR)) <> ''
        THEN left(CAST(x AS VARCHAR), 200)
    END
END, 3);
-- A text that means null and is not blank, and the number of rows with such a text.
CREATE MACRO null_texts(x, value) AS {
    'text': min(CAST(x AS VARCHAR)) FILTER (WHERE value IS NULL AND trim(CAST(x AS VARCHAR)) <> ''),
    'rows': count(*) FILTER (WHERE value IS NULL AND trim(CAST(x AS VARCHAR)) <> '')
};
-- True if a value of JSON may be a record or a list, and not a text.
CREATE MACRO looks_nested(x) AS coalesce(bool_or(starts_with(x, '{') OR starts_with(x, '[')), false);

CREATE MACRO nested(x, types) AS min(left(CAST(x AS VARCHAR), 200)) FILTER (WHERE list_contains(types, json_type(x)));

CREATE TABLE unread_columns (table_name VARCHAR, column_name VARCHAR);
CREATE TABLE user_columns (table_name VARCHAR, column_name VARCHAR, name VARCHAR);
CREATE TABLE null_texts (table_name VARCHAR, column_name VARCHAR, text VARCHAR, rows BIGINT);

-- Without white space at either end. A text that begins and ends with a visible ASCII character has none.
CREATE MACRO trimmed(x) AS CASE
    WHEN x >= '!' AND x < '~' AND x[-1] BETWEEN '!' AND '~' THEN x
    ELSE regexp_replace(x, '^[\s\pZ]+|[\s\pZ]+$', '', 'g')
END;
CREATE MACRO filled(x) AS nullif(trimmed(x), '');

-- A value of the type JSON as the text that it is, without quotes; records and lists as they are written.
CREATE MACRO text_of_json(x) AS CASE WHEN json_type(x) IN ('OBJECT', 'ARRAY') THEN CAST(x AS VARCHAR) ELSE x ->> '$' END;
