DROP TRIGGER posts_search_forget ON posts;
DROP FUNCTION posts_search_forget;
DROP TABLE posts_search;
DROP FUNCTION posts_search_words;
