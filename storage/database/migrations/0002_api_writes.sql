-- Xet ingest: which chunks a xorb has, where their bytes lie, and who may refer to them. Xet hashes are text of 64 hex digits.
-- Below that: commits through the API, and renamed repositories.

CREATE TABLE instance (                     -- facts about this installation
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE xet_xorbs (
    hash TEXT PRIMARY KEY,
    hashes BYTEA NOT NULL,                  -- 32 bytes a chunk
    sizes BYTEA NOT NULL,                   -- 4 bytes a chunk, little endian: its raw size
    is_staged BIGINT NOT NULL,              -- 1 while its bytes are kept as they came
    created_at BIGINT NOT NULL
);

CREATE TABLE xet_grants (                   -- possession (I7): the user sent the xorb, or was told of it while he could read it
    xorb TEXT NOT NULL REFERENCES xet_xorbs(hash) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    PRIMARY KEY (xorb, user_id)
);

CREATE TABLE xet_places (                   -- chunks first..end-1 of the xorb lie in the pool object from position on
    xorb TEXT NOT NULL REFERENCES xet_xorbs(hash) ON DELETE CASCADE,
    first BIGINT NOT NULL,
    ending BIGINT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES blobs(sha256),
    position BIGINT NOT NULL,
    PRIMARY KEY (xorb, first, ending, sha256, position)
);
CREATE INDEX xet_places_object ON xet_places(sha256);

CREATE TABLE xet_files (                    -- files that were rebuilt here once
    hash TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL REFERENCES blobs(sha256)
);

CREATE TABLE xet_chunks (                   -- chunks that clients ask for: one in 1024, and the first of each file
    hash TEXT NOT NULL,
    xorb TEXT NOT NULL REFERENCES xet_xorbs(hash) ON DELETE CASCADE,
    PRIMARY KEY (hash, xorb)
);

-- What a commit made through the API asked for, so that a repeated request finds its answer.
ALTER TABLE ref_log ADD COLUMN request TEXT NOT NULL DEFAULT '';
CREATE INDEX ref_log_request ON ref_log(request, repo_id) WHERE request <> '';

CREATE INDEX lfs_objects_sha256 ON lfs_objects(sha256);

CREATE TABLE repo_moves (                   -- names that led to a repository before it was renamed
    kind TEXT NOT NULL,
    name_key TEXT NOT NULL,
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    PRIMARY KEY (kind, name_key)
);
