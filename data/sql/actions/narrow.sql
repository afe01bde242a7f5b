-- The actions without those of searches that the split leaves out, as read/narrow does it for results.
CREATE TEMP VIEW raw_actions AS
SELECT * FROM memory.main.raw_actions
WHERE search_id IS NULL
    OR search_id NOT IN (
        SELECT search_id FROM narrowed WHERE search_id IS NOT NULL GROUP BY search_id HAVING bool_and(hidden)
    );
