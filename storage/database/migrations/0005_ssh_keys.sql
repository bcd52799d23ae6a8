-- Public keys with which people use git over SSH. A key belongs to one account only: it says who somebody is.

CREATE TABLE ssh_keys (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    title TEXT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,       -- SHA256:…, as ssh-keygen -l shows it
    key_text TEXT NOT NULL,                 -- type and base64, without a comment
    created_at BIGINT NOT NULL,
    last_used BIGINT
);
CREATE INDEX ssh_keys_user ON ssh_keys(user_id);
