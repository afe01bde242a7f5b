CREATE OR REPLACE TEMP MACRO separators(line, separator) AS len(line) - len(replace(line, separator, ''));

-- True if a blank follows the first separator, as in a sentence; in a row it would belong to the second value.
CREATE OR REPLACE TEMP MACRO prose(line, separator) AS contains(line, concat(separator, ' '))
    AND strpos(line, separator) = strpos(line, concat(separator, ' '));

-- The form of a value, to compare identities: runs of letters, of digits and of both.
CREATE OR REPLACE TEMP MACRO shape(x) AS regexp_replace(regexp_replace(regexp_replace(
    x, '[\pL\pM]+', 'a', 'g'), '\d+', '0', 'g'), 'a?(0a)+0?|(a0)+a?', 'm', 'g');
