-- True if the parts follow each other in time.
SELECT count(*) > 0 FROM part_ends
