(SELECT * REPLACE ($texts) FROM $reader)
