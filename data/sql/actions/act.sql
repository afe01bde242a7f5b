-- The actions of each row, and in place of `clicked` whether one of them has a weight. A true `clicked` is an action itself.
ALTER VIEW "read_$table" RENAME TO "given_$table";
CREATE VIEW "read_$table" AS
WITH named AS (
    SELECT *, list_distinct([
        CASE WHEN lower(filled(action)) <> 'impression' THEN filled(action) END,
        CASE WHEN clicked THEN getvariable('click_action') END
    ]) AS actions
    FROM "given_$table"
)
SELECT * REPLACE (list_has_any(actions, CAST(getvariable('weighed_actions') AS VARCHAR[])) AS clicked) FROM named;
