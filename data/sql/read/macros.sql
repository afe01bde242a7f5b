-- One macro for each (kind of column, family of types). The result is null if the value cannot be read; reading.py checks for those.
CREATE MACRO text_from_any(x) AS CAST(x AS VARCHAR);

CREATE MACRO id_from_any(x) AS nullif(CAST(x AS VARCHAR), '');
-- Integers with gaps are often written as floats: 12.0 is the identity 12.
CREATE MACRO id_from_float(x) AS CASE WHEN x = trunc(x) THEN CAST(TRY_CAST(x AS HUGEINT) AS VARCHAR) END;

-- A cast to TIMESTAMP drops the zone; a cast to TIMESTAMPTZ of a text without a zone may depend on the machine.
CREATE MACRO time_from_text(x) AS CASE
    WHEN regexp_matches(x, ':\d\d([.,]\d+)?\s*[+-]\d\d(:?\d\d)?$')
        THEN make_timestamp(epoch_us(TRY_CAST(x AS TIMESTAMPTZ)))
    WHEN regexp_matches(x, '[0-9]\s*(Z|z|UTC)?$')
        THEN TRY_CAST(regexp_replace(x, '\s*(Z|z|UTC)$', '') AS TIMESTAMP)
END;
CREATE MACRO time_from_plain(x) AS CASE WHEN isfinite(CAST(x AS TIMESTAMP)) THEN CAST(x AS TIMESTAMP) END;
CREATE MACRO time_from_zoned(x) AS CASE WHEN isfinite(x) THEN make_timestamp(epoch_us(x)) END;

CREATE MACRO flag_from_boolean(x) AS x;
CREATE MACRO flag_from_number(x) AS CASE x WHEN 0 THEN false WHEN 1 THEN true END;
CREATE MACRO flag_from_text(x) AS CASE
    WHEN lower(trim(x)) IN ('true', 't', '1', '1.0') THEN true
    WHEN lower(trim(x)) IN ('false', 'f', '0', '0.0') THEN false
END;

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

CREATE MACRO type_from_text(x) AS CASE WHEN lower(trim(x)) IN ('searcher', 'document') THEN lower(trim(x)) END;

-- Up to three values that cannot be read. A blank cell and not-a-number are the nulls of CSV and of floats.
CREATE MACRO unread(x, value) AS min(left(CAST(x AS VARCHAR), 200), 3) FILTER (
    WHERE x IS NOT NULL AND value IS NULL AND lower(trim(CAST(x AS VARCHAR))) NOT IN ('', 'nan', 'null')
);

CREATE MACRO trimmed(x) AS regexp_replace(x, '^[\s\pZ]+|[\s\pZ]+$', '', 'g');
CREATE MACRO filled(x) AS nullif(trimmed(x), '');
