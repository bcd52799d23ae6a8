-- A row with merged_at is no pack any more: its objects are in another one. It stays for a day, so that a push of the very same
-- pack, which may be under way, does not name files that are being removed.
ALTER TABLE packs ADD COLUMN merged_at BIGINT;

-- What a repository has (merged_at IS NULL), and what may be forgotten.
CREATE INDEX packs_live ON packs(repo_id, merged_at, created_at);
