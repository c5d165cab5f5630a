-- The words of each post, ready made by the service: folded, in their order, with one space between; '' for null.
-- Why not a tsvector: it has its own idea of a word, counts no further than 16,383, and ends at 1 MB.
-- `migrations/sqlite` has the same table as a virtual one.
--
-- A row is never stale, only ever missing: whoever deletes a post or changes its text deletes the row with it, and the
-- service indexes what is missing.
CREATE TABLE posts_search (
    post_id bigint PRIMARY KEY REFERENCES posts (id) ON DELETE CASCADE,
    title   text NOT NULL,
    author  text NOT NULL,
    content text NOT NULL
);

-- A function for its cost, which makes the planner look words up in the index rather than split texts: that takes a
-- hundred microseconds a post.
CREATE FUNCTION posts_search_words(title text, author text, content text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000
AS $$
BEGIN
    RETURN string_to_array(title, ' ') || string_to_array(author, ' ') || string_to_array(content, ' ');
END
$$;

-- No list of pending entries, which every search would have to read through.
CREATE INDEX posts_search_words ON posts_search
    USING gin (posts_search_words(title, author, content), string_to_array(title, ' ')) WITH (fastupdate = off);
-- Without statistics every word counts as rare, and the plan is the same whatever the word: the index, and within it
-- the range of ids that the query asks for. With them, frequent words would be looked for in text after text.
ALTER INDEX posts_search_words ALTER COLUMN 1 SET STATISTICS 0;
ALTER INDEX posts_search_words ALTER COLUMN 2 SET STATISTICS 0;

CREATE FUNCTION posts_search_forget() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM posts_search WHERE post_id = OLD.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER posts_search_forget AFTER UPDATE ON posts FOR EACH ROW
    WHEN ((OLD.title, OLD.author, OLD.content) IS DISTINCT FROM (NEW.title, NEW.author, NEW.content))
    EXECUTE FUNCTION posts_search_forget();
