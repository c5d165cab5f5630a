-- The twin of migrations/postgres: the same indexes under the same names. Titles sort by code point here anyway.
CREATE INDEX posts_updated_on_id ON posts (updated_on, id);
CREATE INDEX posts_title_id ON posts (title, id);

CREATE INDEX posts_published_created_on_id ON posts (published, created_on, id);
CREATE INDEX posts_published_updated_on_id ON posts (published, updated_on, id);
CREATE INDEX posts_published_title_id ON posts (published, title, id);
CREATE INDEX posts_published_id ON posts (published, id);

CREATE INDEX posts_author_created_on_id ON posts (author, created_on, id);
