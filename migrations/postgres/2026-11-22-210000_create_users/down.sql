DROP INDEX posts_owner_id;
ALTER TABLE posts DROP CONSTRAINT posts_owner_id_fkey;
UPDATE posts SET owner_id = NULL;
DROP TABLE setup_tokens;
DROP TABLE api_keys;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
DROP TABLE users;
