-- Files that one user has locked, so that nobody else changes them (git-lfs docs/api/locking.md).
CREATE TABLE lfs_locks (
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    id BIGINT NOT NULL,                     -- greater than every earlier one of the repository: pages go by it
    path BYTEA NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, id),
    UNIQUE (repo_id, path)
);
CREATE INDEX lfs_locks_user ON lfs_locks(user_id);
