-- The words of a text for the slices: no accents, lower case, letters and digits.
CREATE MACRO words(x) AS regexp_extract_all(lower(strip_accents(x)), '[\pL\pM\pN]+')
