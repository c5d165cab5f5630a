-- The twin of migrations/postgres: the same table, the same rules under the same names.
-- AUTOINCREMENT: an id is never given again, also not the last one after its post was deleted.
CREATE TABLE posts (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    title      TEXT    NOT NULL,
    author     TEXT,
    content    TEXT,
    published  INTEGER NOT NULL DEFAULT 1,
    owner_id   INTEGER,
    created_on TEXT    NOT NULL,
    updated_on TEXT    NOT NULL,
    version    INTEGER NOT NULL DEFAULT 1,

    CONSTRAINT posts_id_range CHECK (id BETWEEN 1 AND 9007199254740991),
    -- `length` stops at a NUL, hence the checks beside it; PostgreSQL's text cannot hold one.
    CONSTRAINT posts_title_length CHECK (length(title) BETWEEN 1 AND 255),
    CONSTRAINT posts_title_without_nul CHECK (instr(title, char(0)) = 0),
    -- The 25 characters with Unicode's property White_Space.
    CONSTRAINT posts_title_not_blank CHECK (
        trim(title, char(9, 10, 11, 12, 13, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198,
            8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)) <> ''
    ),
    CONSTRAINT posts_author_length CHECK (length(author) BETWEEN 1 AND 255),
    CONSTRAINT posts_author_without_nul CHECK (instr(author, char(0)) = 0),
    CONSTRAINT posts_content_length CHECK (length(content) <= 1000000),
    CONSTRAINT posts_content_without_nul CHECK (instr(content, char(0)) = 0),
    CONSTRAINT posts_published_boolean CHECK (published IN (0, 1)),
    -- RFC 3339 in UTC with microseconds, always 27 characters, so that text compares as time does.
    CONSTRAINT posts_created_on_format CHECK (
        created_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    ),
    CONSTRAINT posts_updated_on_format CHECK (
        updated_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
    ),
    CONSTRAINT posts_updated_on_after_created_on CHECK (updated_on >= created_on),
    CONSTRAINT posts_version_positive CHECK (version >= 1)
) STRICT;

-- Serves the list, newest first.
CREATE INDEX posts_created_on_id ON posts (created_on, id);
