DROP INDEX posts_author_created_on_id;
DROP INDEX posts_published_id;
DROP INDEX posts_published_title_id;
DROP INDEX posts_published_updated_on_id;
DROP INDEX posts_published_created_on_id;
DROP INDEX posts_title_id;
DROP INDEX posts_updated_on_id;
