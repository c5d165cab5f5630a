-- Each order of the list, for those who see all posts and for those who see one half. With `id` at the end, an index
-- also says where a page goes on. `migrations/sqlite` has the same ones under the same names.

-- Titles sort by code point, whatever the language of the database, as they do on SQLite.
ALTER TABLE posts ALTER COLUMN title TYPE text COLLATE "C";

CREATE INDEX posts_updated_on_id ON posts (updated_on, id);
CREATE INDEX posts_title_id ON posts (title, id);

CREATE INDEX posts_published_created_on_id ON posts (published, created_on, id);
CREATE INDEX posts_published_updated_on_id ON posts (published, updated_on, id);
CREATE INDEX posts_published_title_id ON posts (published, title, id);
CREATE INDEX posts_published_id ON posts (published, id);

CREATE INDEX posts_author_created_on_id ON posts (author, created_on, id);
