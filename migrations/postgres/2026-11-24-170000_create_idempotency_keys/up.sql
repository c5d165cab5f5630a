-- Answers to requests that had an `Idempotency-Key`, to be given again for a day. Neither the key nor the request's body
-- is kept: of the one a hash, of the other one that nobody can make without the servers' signing key. `migrations/sqlite`
-- has the same table and rules under the same names.
CREATE TABLE idempotency_keys (
    -- Of the caller, the method, the address and the key.
    key_hash    bytea       PRIMARY KEY,
    -- Of the body.
    fingerprint bytea       NOT NULL,
    status      bigint      NOT NULL,
    -- A JSON array of names and values.
    headers     text        NOT NULL,
    body        bytea       NOT NULL,
    created_on  timestamptz NOT NULL,

    CONSTRAINT idempotency_keys_key_hash_length CHECK (length(key_hash) = 32),
    CONSTRAINT idempotency_keys_fingerprint_length CHECK (length(fingerprint) = 32),
    CONSTRAINT idempotency_keys_status_success CHECK (status BETWEEN 200 AND 299)
);

CREATE INDEX idempotency_keys_created_on ON idempotency_keys (created_on);
