-- The words of a text for the slices: letters and digits in lower case, without accents.
CREATE MACRO words(x) AS regexp_extract_all(lower(strip_accents(x)), '[\pL\pM\pN]+')
