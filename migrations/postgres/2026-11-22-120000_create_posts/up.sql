-- The rules of a post, once more and for every writer: the service checks them first and names the
-- fault; these hold whatever wrote the row. `migrations/sqlite` has the same ones under the same names.
CREATE TABLE posts (
    id         bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 9007199254740991) PRIMARY KEY,
    title      text        NOT NULL,
    author     text,
    content    text,
    published  boolean     NOT NULL DEFAULT true,
    owner_id   bigint,
    created_on timestamptz NOT NULL,
    updated_on timestamptz NOT NULL,
    version    bigint      NOT NULL DEFAULT 1,

    -- 2^53 - 1: the largest integer that every JSON client reads exactly.
    CONSTRAINT posts_id_range CHECK (id BETWEEN 1 AND 9007199254740991),
    CONSTRAINT posts_title_length CHECK (char_length(title) BETWEEN 1 AND 255),
    -- The 25 characters with Unicode's property White_Space.
    CONSTRAINT posts_title_not_blank CHECK (
        btrim(title, E'\t\n\u000B\f\r \u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006'
            '\u2007\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000') <> ''
    ),
    CONSTRAINT posts_author_length CHECK (char_length(author) BETWEEN 1 AND 255),
    CONSTRAINT posts_content_length CHECK (char_length(content) <= 1000000),
    CONSTRAINT posts_updated_on_after_created_on CHECK (updated_on >= created_on),
    CONSTRAINT posts_version_positive CHECK (version >= 1)
);

-- Serves the list, newest first.
CREATE INDEX posts_created_on_id ON posts (created_on, id);
