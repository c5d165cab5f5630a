DROP TRIGGER posts_search_forget_replaced;
DROP TRIGGER posts_search_forget_changed;
DROP TRIGGER posts_search_forget_deleted;
DROP TABLE posts_search;
