-- LakeFS as version store: what the hub knows of it, and the updates that are under way.

CREATE TABLE lakefs_repos (                 -- what LakeFS has. A row whose repository is gone is still to be deleted there, so no reference
    repo_id TEXT PRIMARY KEY,
    description TEXT NOT NULL               -- JSON, as LakeFS was last told
);

CREATE TABLE lakefs_refs (                  -- where LakeFS's branches and tags stood when the hub last took note
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    is_tag BIGINT NOT NULL,
    id TEXT NOT NULL,
    ref BYTEA NOT NULL,
    commit_id TEXT NOT NULL,
    missing_since BIGINT,                   -- it was gone from LakeFS when somebody looked
    PRIMARY KEY (repo_id, is_tag, id)
);

CREATE TABLE lakefs_commits (               -- LakeFS's commits in git; 20 zero bytes for the empty one that each repository begins with
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    commit_id TEXT NOT NULL,
    oid BYTEA NOT NULL,
    PRIMARY KEY (repo_id, commit_id)
);
CREATE INDEX lakefs_commits_oid ON lakefs_commits(repo_id, oid);

CREATE TABLE operations (                   -- updates under way; the owner may go on while its lease lasts
    id TEXT PRIMARY KEY,
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    lease BIGINT NOT NULL,
    is_atomic BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    request TEXT NOT NULL
);
CREATE INDEX operations_repo ON operations(repo_id);

CREATE TABLE operation_refs (               -- one writer a ref (I5)
    repo_id TEXT NOT NULL,
    ref BYTEA NOT NULL,
    operation TEXT NOT NULL REFERENCES operations(id) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    old BYTEA NOT NULL,
    new BYTEA NOT NULL,
    peeled BYTEA,
    branch TEXT NOT NULL,                   -- LakeFS's; empty for refs that are no branches
    base TEXT NOT NULL,                     -- the branch's commit when it began; empty where there was none
    PRIMARY KEY (repo_id, ref)
);
CREATE INDEX operation_refs_operation ON operation_refs(operation);
