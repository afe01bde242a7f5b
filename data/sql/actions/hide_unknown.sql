-- A result whose action is not known yet was shown, if the log has what was shown and not clicked, and a position of it where it has
-- positions. Otherwise the row is the action alone, and is not there.
ALTER VIEW "read_$table" RENAME TO "whole_$table";
SET VARIABLE shows_all = (SELECT coalesce(bool_or(NOT $acts), false) FROM "whole_$table");
SET VARIABLE has_positions = (SELECT count(position) > 0 FROM "whole_$table");
CREATE VIEW "read_$table" AS
SELECT * REPLACE (clicked AND NOT unknown_then($time) AS clicked$more)
FROM "whole_$table"
WHERE NOT coalesce($acts AND unknown_then($time), false)
    OR (getvariable('shows_all') AND (position IS NOT NULL OR NOT getvariable('has_positions')));
