-- What may not happen to branches, by patterns of their names.
CREATE TABLE branch_rules (
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    pattern TEXT NOT NULL,                  -- as in a shell; * also stands for slashes
    forbids_force BIGINT NOT NULL,
    forbids_deletion BIGINT NOT NULL,
    forbids_merges BIGINT NOT NULL,         -- only linear history may come
    PRIMARY KEY (repo_id, pattern)
);
