-- The twin of migrations/postgres: the same words in an index, which keeps no copy of them; `rowid` is the post's id.
-- The words come ready made. This tokenizer leaves them whole: it parts texts at spaces and ASCII's punctuation alone.
CREATE VIRTUAL TABLE posts_search USING fts5 (
    title, author, content,
    content = '', contentless_delete = 1, tokenize = 'ascii'
);

CREATE TRIGGER posts_search_forget_deleted AFTER DELETE ON posts BEGIN
    DELETE FROM posts_search WHERE rowid = OLD.id;
END;

-- An id may change, too, here where nothing refers to it.
CREATE TRIGGER posts_search_forget_changed AFTER UPDATE ON posts
WHEN (OLD.id, OLD.title, OLD.author, OLD.content) IS NOT (NEW.id, NEW.title, NEW.author, NEW.content) BEGIN
    DELETE FROM posts_search WHERE rowid IN (OLD.id, NEW.id);
END;

-- `INSERT OR REPLACE` deletes a row without a word to the trigger for that.
CREATE TRIGGER posts_search_forget_replaced AFTER INSERT ON posts BEGIN
    DELETE FROM posts_search WHERE rowid = NEW.id;
END;
