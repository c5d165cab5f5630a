-- The twin of migrations/postgres: the same tables, the same rules under the same names.
CREATE TABLE users (
    id               INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    email            TEXT    NOT NULL,
    -- The e-mail in lower case: two that differ in case alone are one account's.
    email_key        TEXT    NOT NULL,
    role             TEXT    NOT NULL,
    disabled         INTEGER NOT NULL DEFAULT 0,
    password_hash    TEXT    NOT NULL,
    -- One more at each new password: an access token counts for the generation that it was made in.
    token_generation INTEGER NOT NULL DEFAULT 1,
    created_on       TEXT    NOT NULL,
    updated_on       TEXT    NOT NULL,
    version          INTEGER NOT NULL DEFAULT 1,

    CONSTRAINT users_id_range CHECK (id BETWEEN 1 AND 9007199254740991),
    CONSTRAINT users_email_length CHECK (length(email) BETWEEN 3 AND 254),
    CONSTRAINT users_email_without_nul CHECK (instr(email, char(0)) = 0),
    CONSTRAINT users_role_known CHECK (role IN ('reader', 'author', 'editor', 'admin')),
    CONSTRAINT users_disabled_boolean CHECK (disabled IN (0, 1)),
    CONSTRAINT users_token_generation_positive CHECK (token_generation >= 1),
    CONSTRAINT users_created_on_format CHECK (
        created_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    ),
    CONSTRAINT users_updated_on_format CHECK (
        updated_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    ),
    CONSTRAINT users_updated_on_after_created_on CHECK (updated_on >= created_on),
    CONSTRAINT users_version_positive CHECK (version >= 1)
) STRICT;

CREATE UNIQUE INDEX users_email_key ON users (email_key);

-- A sign-in, and the family of refresh tokens that goes back to it.
CREATE TABLE sessions (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_on   TEXT    NOT NULL,
    refreshed_on TEXT    NOT NULL,

    CONSTRAINT sessions_created_on_format CHECK (
        created_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    ),
    CONSTRAINT sessions_refreshed_on_format CHECK (
        refreshed_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    )
) STRICT;

CREATE INDEX sessions_user_id ON sessions (user_id);

-- Every token of a family, used ones too: to see one again is how a theft shows.
CREATE TABLE refresh_tokens (
    hash       BLOB    NOT NULL PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    used_on    TEXT,

    CONSTRAINT refresh_tokens_hash_length CHECK (length(hash) = 32),
    CONSTRAINT refresh_tokens_used_on_format CHECK (
        used_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    )
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_session_id ON refresh_tokens (session_id);

CREATE TABLE api_keys (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    role         TEXT    NOT NULL,
    -- What may be shown of the key.
    prefix       TEXT    NOT NULL,
    hash         BLOB    NOT NULL,
    created_on   TEXT    NOT NULL,
    expires_on   TEXT,
    -- To the hour.
    last_used_on TEXT,

    CONSTRAINT api_keys_id_range CHECK (id BETWEEN 1 AND 9007199254740991),
    CONSTRAINT api_keys_name_length CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT api_keys_name_without_nul CHECK (instr(name, char(0)) = 0),
    CONSTRAINT api_keys_role_known CHECK (role IN ('reader', 'author', 'editor', 'admin')),
    CONSTRAINT api_keys_hash_length CHECK (length(hash) = 32),
    CONSTRAINT api_keys_created_on_format CHECK (
        created_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    ),
    CONSTRAINT api_keys_expires_on_format CHECK (
        expires_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    ),
    CONSTRAINT api_keys_last_used_on_format CHECK (
        last_used_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    )
) STRICT;

CREATE INDEX api_keys_user_id ON api_keys (user_id);
CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash);

-- While there is no user, a server that starts prints a token with which the first admin is made. One row for each.
CREATE TABLE setup_tokens (
    hash       BLOB NOT NULL PRIMARY KEY,
    expires_on TEXT NOT NULL,

    CONSTRAINT setup_tokens_hash_length CHECK (length(hash) = 32),
    CONSTRAINT setup_tokens_expires_on_format CHECK (
        expires_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    )
) STRICT, WITHOUT ROWID;

-- Posts outlive their owners. SQLite adds no foreign key to a column that is there; until now it was always null.
ALTER TABLE posts DROP COLUMN owner_id;
ALTER TABLE posts ADD COLUMN owner_id INTEGER REFERENCES users (id) ON DELETE SET NULL;

CREATE INDEX posts_owner_id ON posts (owner_id);
