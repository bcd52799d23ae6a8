-- Types are spelled so that SQLite and PostgreSQL both take them: BIGINT, TEXT, BYTEA.
-- Times are UTC microseconds. Booleans are 0 or 1.

CREATE TABLE users (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,          -- lower case
    email TEXT NOT NULL,
    email_key TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,            -- argon2id
    is_admin BIGINT NOT NULL DEFAULT 0,
    is_active BIGINT NOT NULL DEFAULT 1,
    created_at BIGINT NOT NULL
);

CREATE TABLE tokens (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,              -- hex SHA-256 of the token
    scope TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used BIGINT
);
CREATE INDEX tokens_user ON tokens(user_id);

CREATE TABLE sessions (
    hash TEXT PRIMARY KEY,                  -- hex SHA-256 of the cookie
    user_id BIGINT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions(user_id);

CREATE TABLE guesses (
    subject TEXT NOT NULL,                  -- 'account:<name key>' or 'address:<ip>'
    at BIGINT NOT NULL
);
CREATE INDEX guesses_subject ON guesses(subject, at);

CREATE TABLE repos (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,                 -- lower-case 'namespace/name'
    namespace_key TEXT NOT NULL,
    is_private BIGINT NOT NULL,
    creator_id BIGINT NOT NULL REFERENCES users(id),
    head BYTEA NOT NULL,                    -- target of HEAD
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (kind, name_key)
);
CREATE INDEX repos_namespace ON repos(namespace_key);

CREATE TABLE refs (
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    name BYTEA NOT NULL,
    oid BYTEA NOT NULL,
    peeled BYTEA,                           -- what an annotated tag leads to
    PRIMARY KEY (repo_id, name)
);

CREATE TABLE packs (
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    objects BIGINT NOT NULL,
    size BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, id)
);

CREATE TABLE ref_log (
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    name BYTEA NOT NULL,
    old BYTEA NOT NULL,
    new BYTEA NOT NULL,
    user_id BIGINT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX ref_log_repo ON ref_log(repo_id, at);

CREATE TABLE blobs (
    sha256 TEXT PRIMARY KEY,                -- an object in the pool
    size BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE lfs_objects (                  -- possession: this repository was given the bytes (I7)
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    sha256 TEXT NOT NULL REFERENCES blobs(sha256),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, sha256)
);
