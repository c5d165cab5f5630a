//! Users to call as, and tokens: made past the service, as the service would make them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use diesel::RunQueryDsl as _;
use diesel::deserialize::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use jsonwebtoken::{Algorithm, EncodingKey};
use posts_api::auth::{Options, SigningKey, SigningKeys};
use posts_api::db::DbConnection;
use serde_json::{Value, json};

use super::TestDatabase;

/// Every test's user has this password.
pub const PASSWORD: &str = "correct horse battery staple";

/// [`PASSWORD`] as the service keeps it: hashing it again for each user would take most of a run's time.
const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$383/xlEWVJEpqxV5t/Ry+Q$LxE0Zut9SkyE0tjocxyIbFfPnbCl47+FzKwQ1BGLOIg";

/// The key that the tests' servers sign with.
pub const SIGNING_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJxWq7Ve9rJXqB+c6xBwDwxnGOFxOIHnx0ogmgjqUiyG\n\
    -----END PRIVATE KEY-----\n";

/// How the tests' servers sign.
pub fn auth_options() -> Options {
    let keys = SigningKeys::new(vec![SigningKey::from_pem(SIGNING_KEY).unwrap()]).unwrap();
    Options { keys, issuer: "posts".to_owned(), audience: "posts".to_owned() }
}

/// A user, and an access token of theirs.
#[derive(Clone, Debug)]
pub struct User {
    pub id: i64,
    pub email: String,
    pub token: String,
}

impl User {
    /// Creates a user with this role, whose password is [`PASSWORD`].
    pub fn create(database: &TestDatabase, role: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let email = format!("{role}{}@Example.org", COUNT.fetch_add(1, Ordering::Relaxed));
        let id = insert(&mut database.connect(), &email, role);
        Self { id, email, token: Token::of(id).sign() }
    }
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

fn insert(connection: &mut DbConnection, email: &str, role: &str) -> i64 {
    let inserted = diesel::sql_query(
        "INSERT INTO users (email, email_key, role, password_hash, created_on, updated_on) \
         VALUES ($1, $2, $3, $4, '2026-11-22T09:30:00.000000Z', '2026-11-22T09:30:00.000000Z') RETURNING id",
    )
    .bind::<Text, _>(email)
    .bind::<Text, _>(email.to_lowercase())
    .bind::<Text, _>(role)
    .bind::<Text, _>(PASSWORD_HASH)
    .get_result::<Id>(connection);
    inserted.unwrap().id
}

/// An access token to be signed: a good one, until a test makes another of it.
#[derive(Clone, Debug)]
pub struct Token {
    pub header: Value,
    pub claims: Value,
}

impl Token {
    /// One for the user with this id, as sign-in gives it to a user who never changed the password.
    pub fn of(user_id: i64) -> Self {
        let now = now();
        let id = auth_options().keys.public().keys[0].common.key_id.clone();
        Self {
            header: json!({"typ": "at+jwt", "alg": "EdDSA", "kid": id}),
            claims: json!({
                "iss": "posts", "aud": "posts", "sub": user_id.to_string(),
                "exp": now + 900, "nbf": now, "iat": now, "jti": "1.00000000000000000000000000000000",
            }),
        }
    }

    /// Signed with the tests' key, whatever the header says.
    pub fn sign(&self) -> String {
        self.sign_with(SIGNING_KEY)
    }

    /// Signed with another Ed25519 key.
    pub fn sign_with(&self, pem: &str) -> String {
        let message = format!("{}.{}", encode(&self.header), encode(&self.claims));
        let key = EncodingKey::from_ed_der(pem::parse(pem).unwrap().contents());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }
}

/// A part of a token.
pub fn encode(part: &Value) -> String {
    data_encoding::BASE64URL_NOPAD.encode(part.to_string().as_bytes())
}

/// Whole seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
