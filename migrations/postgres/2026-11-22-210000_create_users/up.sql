-- Who may sign in, and what they sign in with. No secret is kept: of a password its hash, of a token or a key, which
-- have 256 random bits, its SHA-256. `migrations/sqlite` has the same tables and rules under the same names.
CREATE TABLE users (
    id               bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 9007199254740991) PRIMARY KEY,
    email            text        NOT NULL,
    -- The e-mail in lower case: two that differ in case alone are one account's.
    email_key        text        NOT NULL,
    role             text        NOT NULL,
    disabled         boolean     NOT NULL DEFAULT false,
    password_hash    text        NOT NULL,
    -- One more at each new password: an access token counts for the generation that it was made in.
    token_generation bigint      NOT NULL DEFAULT 1,
    created_on       timestamptz NOT NULL,
    updated_on       timestamptz NOT NULL,
    version          bigint      NOT NULL DEFAULT 1,

    CONSTRAINT users_id_range CHECK (id BETWEEN 1 AND 9007199254740991),
    CONSTRAINT users_email_length CHECK (char_length(email) BETWEEN 3 AND 254),
    CONSTRAINT users_role_known CHECK (role IN ('reader', 'author', 'editor', 'admin')),
    CONSTRAINT users_token_generation_positive CHECK (token_generation >= 1),
    CONSTRAINT users_updated_on_after_created_on CHECK (updated_on >= created_on),
    CONSTRAINT users_version_positive CHECK (version >= 1)
);

CREATE UNIQUE INDEX users_email_key ON users (email_key);

-- A sign-in, and the family of refresh tokens that goes back to it.
CREATE TABLE sessions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id      bigint      NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_on   timestamptz NOT NULL,
    refreshed_on timestamptz NOT NULL
);

CREATE INDEX sessions_user_id ON sessions (user_id);

-- Every token of a family, used ones too: to see one again is how a theft shows.
CREATE TABLE refresh_tokens (
    hash       bytea  PRIMARY KEY,
    session_id bigint NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    used_on    timestamptz,

    CONSTRAINT refresh_tokens_hash_length CHECK (length(hash) = 32)
);

CREATE INDEX refresh_tokens_session_id ON refresh_tokens (session_id);

CREATE TABLE api_keys (
    id           bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 9007199254740991) PRIMARY KEY,
    user_id      bigint      NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         text        NOT NULL,
    role         text        NOT NULL,
    -- What may be shown of the key.
    prefix       text        NOT NULL,
    hash         bytea       NOT NULL,
    created_on   timestamptz NOT NULL,
    expires_on   timestamptz,
    -- To the hour.
    last_used_on timestamptz,

    CONSTRAINT api_keys_id_range CHECK (id BETWEEN 1 AND 9007199254740991),
    CONSTRAINT api_keys_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    CONSTRAINT api_keys_role_known CHECK (role IN ('reader', 'author', 'editor', 'admin')),
    CONSTRAINT api_keys_hash_length CHECK (length(hash) = 32)
);

CREATE INDEX api_keys_user_id ON api_keys (user_id);
CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash);

-- While there is no user, a server that starts prints a token with which the first admin is made. One row for each.
CREATE TABLE setup_tokens (
    hash       bytea       PRIMARY KEY,
    expires_on timestamptz NOT NULL,

    CONSTRAINT setup_tokens_hash_length CHECK (length(hash) = 32)
);

-- Posts outlive their owners.
ALTER TABLE posts ADD CONSTRAINT posts_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES users (id) ON DELETE SET NULL;

CREATE INDEX posts_owner_id ON posts (owner_id);
