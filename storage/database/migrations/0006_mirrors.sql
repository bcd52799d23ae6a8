-- Work that goes on by itself, and repositories that follow others or are followed.

CREATE TABLE jobs (                         -- one row for each standing task, whether it waits, runs or is done
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,                  -- what it is about: the id of a row of its kind
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    state TEXT NOT NULL,                    -- waiting, running, done, failed
    due_at BIGINT NOT NULL,                 -- when it may begin; while it runs, when its lease is over
    every BIGINT NOT NULL,                  -- seconds from its end to its next begin; 0: once
    owner TEXT NOT NULL,                    -- who runs it: nobody else may write it down as done
    tries BIGINT NOT NULL,                  -- since it last went well
    is_asked BIGINT NOT NULL,               -- it was asked for again while it ran
    progress TEXT NOT NULL,
    done BIGINT NOT NULL,
    total BIGINT NOT NULL,                  -- 0: not known
    message TEXT NOT NULL,                  -- why the last try failed; empty when it went well
    begun_at BIGINT,
    ended_at BIGINT,
    PRIMARY KEY (kind, subject)
);
CREATE INDEX jobs_due ON jobs(due_at) WHERE state IN ('waiting', 'running');
CREATE INDEX jobs_repo ON jobs(repo_id);

CREATE TABLE mirrors (
    id TEXT PRIMARY KEY,
    repo_id TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    direction TEXT NOT NULL,                -- pull, push
    url TEXT NOT NULL,                      -- without credentials
    secret TEXT NOT NULL,                   -- credentials, encrypted; empty for none
    user_id BIGINT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    is_kept BIGINT NOT NULL,                -- 0: an import, done once
    created_at BIGINT NOT NULL,
    UNIQUE (repo_id, direction, url)
);
CREATE UNIQUE INDEX mirrors_source ON mirrors(repo_id) WHERE direction = 'pull';
