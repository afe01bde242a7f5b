-- True if actions have times and no search has one.
SELECT coalesce(getvariable('untimed'), false) AND EXISTS (FROM checked_results WHERE clicked AND acted_at IS NOT NULL)
