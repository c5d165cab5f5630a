-- The twin of migrations/postgres: the same table, the same rules under the same names. With a rowid, unlike other
-- tables whose key is a hash: bodies are long.
CREATE TABLE idempotency_keys (
    -- Of the caller, the method, the address and the key.
    key_hash    BLOB    NOT NULL PRIMARY KEY,
    -- Of the body.
    fingerprint BLOB    NOT NULL,
    status      INTEGER NOT NULL,
    -- A JSON array of names and values.
    headers     TEXT    NOT NULL,
    body        BLOB    NOT NULL,
    created_on  TEXT    NOT NULL,

    CONSTRAINT idempotency_keys_key_hash_length CHECK (length(key_hash) = 32),
    CONSTRAINT idempotency_keys_fingerprint_length CHECK (length(fingerprint) = 32),
    CONSTRAINT idempotency_keys_status_success CHECK (status BETWEEN 200 AND 299),
    CONSTRAINT idempotency_keys_created_on_format CHECK (
        created_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    )
) STRICT;

CREATE INDEX idempotency_keys_created_on ON idempotency_keys (created_on);
