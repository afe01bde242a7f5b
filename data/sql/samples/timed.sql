-- True if all training sessions begin before the first session of another part.
SELECT coalesce(timed, true) AS timed FROM cuts
