DROP INDEX posts_owner_id;
ALTER TABLE posts DROP COLUMN owner_id;
ALTER TABLE posts ADD COLUMN owner_id INTEGER;
DROP TABLE setup_tokens;
DROP TABLE api_keys;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
DROP TABLE users;
