-- Raised in the transaction that takes a credential back: workers compare it before they believe one that they remember.
CREATE TABLE revocations (
    id BIGINT PRIMARY KEY,                  -- 1: the only row
    number BIGINT NOT NULL
);
INSERT INTO revocations (id, number) VALUES (1, 0);
