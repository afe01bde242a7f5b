CREATE OR REPLACE TEMP MACRO separators(line, separator) AS len(line) - len(replace(line, separator, ''));

-- The form of a value, to compare identities: runs of letters, of digits and of both.
CREATE OR REPLACE TEMP MACRO shape(x) AS regexp_replace(regexp_replace(regexp_replace(
    x, '[\pL\pM]+', 'a', 'g'), '\d+', '0', 'g'), 'a?(0a)+0?|(a0)+a?', 'm', 'g');
