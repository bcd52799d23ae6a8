-- Whole repacks. What nothing leads to is set aside in packs of their own, and dropped when it has been there for long.
ALTER TABLE packs ADD COLUMN dead_since BIGINT;     -- nothing led to the pack's objects then; NULL for a usual pack

-- Two counters that pushes and drops compare, so that none goes by what the other is changing.
ALTER TABLE repos ADD COLUMN changes BIGINT NOT NULL DEFAULT 0;     -- raised when packs or refs come, which may name what is stored
ALTER TABLE repos ADD COLUMN drops BIGINT NOT NULL DEFAULT 0;       -- raised when stored objects go

ALTER TABLE repos ADD COLUMN repacked_at BIGINT NOT NULL DEFAULT 0;         -- when a whole repack last began
ALTER TABLE repos ADD COLUMN repacked_changes BIGINT NOT NULL DEFAULT 0;    -- `changes` as the last one that ended saw it
