-- What a commit made through the API asked for is the key by which a repeated request finds its answer.
ALTER TABLE ref_log RENAME COLUMN request TO idempotency_key;
ALTER TABLE operations RENAME COLUMN request TO idempotency_key;
