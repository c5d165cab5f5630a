DROP INDEX posts_search_words;
CREATE INDEX posts_search_words ON posts_search
    USING gin (posts_search_words(title, author, content), string_to_array(title, ' ')) WITH (fastupdate = off);
ALTER INDEX posts_search_words ALTER COLUMN 1 SET STATISTICS 0;
ALTER INDEX posts_search_words ALTER COLUMN 2 SET STATISTICS 0;
