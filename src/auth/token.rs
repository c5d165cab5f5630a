//! Access tokens: signed, short-lived, of one kind (RFC 7519, RFC 9068). Whoever bears one is the user that it names,
//! as long as that user stands.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use data_encoding::HEXLOWER;
use jsonwebtoken::{Algorithm, Header, Validation};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::keys::SigningKeys;
use super::secret;
use crate::db::Timestamp;
use crate::http::problem::Problem;

/// How long an access token counts.
pub(super) const LIFETIME: Duration = Duration::from_mins(15);

/// By how much servers' clocks may differ, in seconds.
const LEEWAY: u64 = 5;

/// The media type of an access token, without its `application/` (RFC 9068 §2.1): what else is signed is none.
const TYPE: &str = "at+jwt";

/// Makes and checks access tokens.
#[derive(Clone, Debug)]
pub struct AccessTokens {
    keys: SigningKeys,
    issuer: String,
    audience: String,
    validation: Validation,
}

/// Whom an access token is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The user.
    pub user_id: i64,
    /// The user's `token_generation` when the token was made.
    pub generation: i64,
}

/// The header, and nothing beside it: no other algorithm, no key that the token brings along, no extension that one
/// would have to understand (RFC 7515 §4.1).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Deserialize, Serialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    exp: u64,
    nbf: u64,
    iat: u64,
    /// The user's token generation, and a random number: `3.0a1b…`.
    jti: String,
}

/// What is remembered of a token: what it claims that is looked at each time.
#[derive(Clone, Copy, Debug)]
struct Checked {
    subject: Subject,
    not_before: u64,
    expires: u64,
}

impl Checked {
    /// `None` where the claims do not name a subject as tokens of ours do.
    fn of(claims: &Claims) -> Option<Self> {
        let (generation, _) = claims.jti.split_once('.')?;
        let subject = Subject { user_id: number(&claims.sub)?, generation: number(generation)? };
        Some(Self { subject, not_before: claims.nbf.max(claims.iat), expires: claims.exp })
    }

    fn counts_at(&self, now: u64) -> bool {
        self.not_before <= now.saturating_add(LEEWAY) && now <= self.expires.saturating_add(LEEWAY)
    }
}

/// The most tokens that a worker remembers.
const REMEMBERED_MAX: usize = 4096;

thread_local! {
    /// The tokens whose signatures this worker has checked, by their hashes. A signature that is good
    /// stays so, and to check one takes as long as all the rest of a request. What may change is looked at each time: whether
    /// the token counts now, and whether its user stands. Only good tokens get here, so nobody can fill it with others.
    static CHECKED: RefCell<HashMap<[u8; 32], Checked>> = RefCell::default();
}

impl AccessTokens {
    /// Tokens that these keys sign, with these `iss` and `aud`.
    #[must_use]
    pub fn new(keys: SigningKeys, issuer: String, audience: String) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        // The times are looked at each time that the token comes, and not only at first.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[&audience]);
        Self { keys, issuer, audience, validation }
    }

    /// A token about this subject, for a while from now.
    pub fn issue(&self, subject: Subject) -> Result<SecretString, Problem> {
        let key = self.keys.first();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.id.clone());
        let now = now();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: subject.user_id.to_string(),
            exp: now + LIFETIME.as_secs(),
            nbf: now,
            iat: now,
            jti: format!("{}.{}", subject.generation, HEXLOWER.encode(&secret::random::<16>()?)),
        };
        let token = jsonwebtoken::encode(&header, &claims, &key.private).map_err(|error| Problem::internal(&error))?;
        Ok(token.into())
    }

    /// Whom the token is about, if it is one of ours and counts now. Why it does not is nobody's business.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<Subject> {
        let name = secret::digest(token);
        let remembered = CHECKED.with_borrow(|remembered| remembered.get(&name).copied());
        let checked = remembered.or_else(|| self.check(token))?;
        if !checked.counts_at(now()) {
            return None;
        }
        if remembered.is_none() {
            remember(name, checked);
        }
        Some(checked.subject)
    }

    /// What a token claims that is signed by one of our keys, for us.
    fn check(&self, token: &str) -> Option<Checked> {
        let (header, _) = token.split_once('.')?;
        let header: StrictHeader = serde_json::from_slice(&BASE64URL_NOPAD.decode(header.as_bytes()).ok()?).ok()?;
        if header.alg != "EdDSA" || header.typ != TYPE {
            return None;
        }
        let key = self.keys.find(&header.kid)?;
        Checked::of(&jsonwebtoken::decode(token, &key.public, &self.validation).ok()?.claims)
    }
}

/// Spares this worker the next check of the same signature.
fn remember(name: [u8; 32], checked: Checked) {
    CHECKED.with_borrow_mut(|remembered| {
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(name, checked);
    });
}

/// A number as tokens have it, and written in no other way: neither `01` nor `+1`.
fn number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

/// Whole seconds since 1970.
fn now() -> u64 {
    u64::try_from(Timestamp::now().seconds()).unwrap_or_default()
}
