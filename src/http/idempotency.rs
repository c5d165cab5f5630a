//! `Idempotency-Key`: a request that creates something may be sent again, and is carried out once.
//!
//! The first answer is stored in the transaction of the write itself, so that neither is there without the other, and
//! whoever sends the same request again gets the same bytes. Of a request that fails nothing is stored: its key is as
//! good as new. Knows no resource.
//!
//! A handler makes an [`Attempt`] of the key, the caller and the body, and lets that write.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use aws_lc_rs::{digest, hmac};
use diesel::prelude::*;
use serde::Serialize;
use serde_json::Value;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Type};

use super::conditional::Validators;
use super::json;
use super::problem::{Code, Fault, Problem};
use super::schema::parameter;
use crate::db::schema::idempotency_keys;
use crate::db::{self, Db, DbConnection, Timestamp};

const HEADER: &str = "Idempotency-Key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The most characters of a key.
const LENGTH_MAX: usize = 255;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_hours(24);

/// What bodies are told apart with. Every server of a deployment has the same ones, and the database has none: a body
/// may hold a password, which could otherwise be guessed from what is kept.
#[derive(Clone, Debug)]
pub struct FingerprintKeys {
    first: hmac::Key,
    others: Vec<hmac::Key>,
}

impl FingerprintKeys {
    /// Keys from these secrets: the first is what fingerprints are made with, and the others what they may have been
    /// made with before. `None` where there is none.
    pub fn new(secrets: impl IntoIterator<Item = [u8; 32]>) -> Option<Self> {
        let mut keys = secrets.into_iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, &secret));
        Some(Self { first: keys.next()?, others: keys.collect() })
    }
}

/// The key of a request, which may have none. To extract it fails where a key is there and cannot be read: it is one
/// line of 1 to 255 visible ASCII characters.
#[derive(Debug)]
pub struct IdempotencyKey(Option<Sent>);

#[derive(Debug)]
struct Sent {
    key: String,
    method: Method,
    path: String,
    fingerprint_keys: Data<FingerprintKeys>,
}

/// A request that is to be carried out once, if it has a key.
#[derive(Debug)]
pub struct Attempt(Option<Marks>);

/// By what a request is known again. Nothing of it leads back to the key or to the body.
#[derive(Clone, Debug)]
struct Marks {
    /// Of the caller, the method, the path and the key.
    key_hash: Vec<u8>,
    /// Of the body.
    fingerprint: Vec<u8>,
    /// The same, as a server makes it that still signs with another key.
    other_fingerprints: Vec<Vec<u8>>,
}

/// A success, as it is stored and sent.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    replayed: bool,
}

/// What came of an attempt.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What to send: the first attempt's answer, whichever this is.
    pub answer: Answer,
    /// What this attempt did. `None` where an earlier one had done it.
    pub done: Option<T>,
}

impl IdempotencyKey {
    /// An attempt by the user with this id to have this body's wish carried out.
    #[must_use]
    pub fn attempt(self, user_id: i64, body: &Value) -> Attempt {
        Attempt(self.0.map(|sent| sent.marks(user_id, body)))
    }
}

impl Attempt {
    /// Whether the request has a key. One without is carried out each time that it is sent.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.0.is_some()
    }

    /// The first attempt's answer, where there has been one. Saves work that [`Attempt::write`] would then not use;
    /// fails, as that does, where the first attempt had another body.
    pub async fn first_answer(&self, db: &Db) -> Result<Option<Answer>, Problem> {
        let Some(marks) = self.0.clone() else { return Ok(None) };
        db.read(move |connection| marks.find(connection)).await
    }

    /// Does the work in one transaction, and stores its answer there. Where an earlier attempt succeeded, does nothing
    /// and gives that one's answer.
    ///
    /// Fails where the first attempt is still at work (409), and where it had another body (422).
    pub async fn write<T: Send + 'static>(
        self,
        db: &Db,
        work: impl FnOnce(&mut DbConnection) -> Result<T, Problem> + Send + 'static,
        answer: fn(&T) -> Result<Answer, Problem>,
    ) -> Result<Outcome<T>, Problem> {
        db.write(move |connection| {
            let Self(marks) = self;
            if let Some(marks) = &marks
                && let Some(answer) = marks.begin(connection)?
            {
                return Ok(Outcome { answer, done: None });
            }
            let done = work(connection)?;
            let answer = answer(&done)?;
            if let Some(marks) = &marks {
                marks.keep(connection, &answer)?;
            }
            Ok(Outcome { answer, done: Some(done) })
        })
        .await
    }
}

impl Sent {
    fn marks(&self, user_id: i64, body: &Value) -> Marks {
        let mut hash = digest::Context::new(&digest::SHA256);
        let user_id = user_id.to_string();
        for part in [&user_id, self.method.as_str(), &self.path, &self.key] {
            // The length first, or what ends one part could begin the next.
            hash.update(&part.len().to_be_bytes());
            hash.update(part.as_bytes());
        }
        let key_hash = hash.finish().as_ref().to_vec();
        // As a value is written, not as it was sent: its members have one order, and there is no white space.
        let body = body.to_string();
        let fingerprint = |key: &hmac::Key| {
            let mut fingerprint = hmac::Context::with_key(key);
            // So that equal bodies do not show as equal.
            fingerprint.update(&key_hash);
            fingerprint.update(body.as_bytes());
            fingerprint.sign().as_ref().to_vec()
        };
        Marks {
            fingerprint: fingerprint(&self.fingerprint_keys.first),
            other_fingerprints: self.fingerprint_keys.others.iter().map(fingerprint).collect(),
            key_hash,
        }
    }
}

impl Marks {
    /// Begins the attempt, as the only one until the transaction ends, or finds the answer of the first.
    fn begin(&self, connection: &mut DbConnection) -> Result<Option<Answer>, Problem> {
        // The lock before the look: who has ended gave the lock back after its answer could be seen, so that one of
        // the two always shows.
        let is_alone = db::try_lock(connection, self.lock_number())?;
        match self.find(connection)? {
            None if !is_alone => Err(Problem::new(
                Code::IdempotencyInProgress,
                "A request with this `Idempotency-Key` is still at work. Send this one again in a moment, as it is.",
            )),
            found => Ok(found),
        }
    }

    /// The first attempt's answer, as far as it is kept.
    fn find(&self, connection: &mut DbConnection) -> Result<Option<Answer>, Problem> {
        let kept = idempotency_keys::table
            .find(&self.key_hash)
            .filter(idempotency_keys::created_on.gt(Timestamp::now() - KEPT))
            .select((
                idempotency_keys::fingerprint,
                idempotency_keys::status,
                idempotency_keys::headers,
                idempotency_keys::body,
            ))
            .first::<(Vec<u8>, i64, String, Vec<u8>)>(connection)
            .optional()?;
        let Some((fingerprint, status, headers, body)) = kept else { return Ok(None) };
        if fingerprint != self.fingerprint && !self.other_fingerprints.contains(&fingerprint) {
            let detail = "This `Idempotency-Key` came with another body before. Take a new key for a new request.";
            return Err(Problem::new(Code::IdempotencyKeyReused, detail));
        }
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let headers = serde_json::from_str(&headers).map_err(|error| Problem::internal(&error))?;
        Ok(Some(Answer { status: status.unwrap_or(StatusCode::OK), headers, body, replayed: true }))
    }

    /// Stores the answer, in place of one that has been kept for long enough.
    fn keep(&self, connection: &mut DbConnection, answer: &Answer) -> Result<(), Problem> {
        let headers = serde_json::to_string(&answer.headers).map_err(|error| Problem::internal(&error))?;
        diesel::delete(idempotency_keys::table.find(&self.key_hash)).execute(connection)?;
        diesel::insert_into(idempotency_keys::table)
            .values((
                idempotency_keys::key_hash.eq(&self.key_hash),
                idempotency_keys::fingerprint.eq(&self.fingerprint),
                idempotency_keys::status.eq(i64::from(answer.status.as_u16())),
                idempotency_keys::headers.eq(headers),
                idempotency_keys::body.eq(&answer.body),
                idempotency_keys::created_on.eq(Timestamp::now()),
            ))
            .execute(connection)?;
        Ok(())
    }

    /// The number of the lock that attempts of the same request share. Others may share it, too, once in 2^64.
    fn lock_number(&self) -> i64 {
        self.key_hash.first_chunk().copied().map_or(0, i64::from_be_bytes)
    }
}

impl Answer {
    /// The answer for what was created at `location`: 201, and the resource as it is now.
    pub fn created(location: String, state: &Validators, resource: &impl Serialize) -> Result<Self, Problem> {
        let mut headers = vec![
            (header::LOCATION.to_string(), location),
            (header::CONTENT_TYPE.to_string(), json::MEDIA_TYPE.to_owned()),
        ];
        headers.extend(state.headers().map(|(name, value)| (name.to_string(), value)));
        let body = serde_json::to_vec(resource).map_err(|error| Problem::internal(&error))?;
        Ok(Self { status: StatusCode::CREATED, headers, body, replayed: false })
    }
}

impl From<Answer> for HttpResponse {
    fn from(answer: Answer) -> Self {
        let mut response = Self::build(answer.status);
        for header in answer.headers {
            response.insert_header(header);
        }
        if answer.replayed {
            response.insert_header((REPLAYED, HeaderValue::from_static("true")));
        }
        response.body(answer.body)
    }
}

/// Forgets the answers that have been kept for long enough.
pub async fn forget(db: &Db) {
    let forgotten = db.write(|connection| {
        let old = idempotency_keys::table.filter(idempotency_keys::created_on.le(Timestamp::now() - KEPT));
        Ok::<_, Problem>(diesel::delete(old).execute(connection)?)
    });
    match forgotten.await {
        Ok(answers) => tracing::debug!(answers, "answers that were kept for retries are forgotten"),
        Err(problem) => tracing::warn!(cause = problem.cause(), "answers kept for retries could not be forgotten"),
    }
}

impl FromRequest for IdempotencyKey {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read(request).map(Self))
    }
}

fn read(request: &HttpRequest) -> Result<Option<Sent>, Problem> {
    let mut lines = request.headers().get_all(HEADER);
    let Some(line) = lines.next() else { return Ok(None) };
    let malformed = |code, detail| Problem::malformed_header(vec![Fault::at_header(HEADER, code, detail)]);
    if lines.next().is_some() {
        return Err(malformed("duplicate", "This is given twice. Send one."));
    }
    let key = line.to_str().ok().filter(|key| {
        (1..=LENGTH_MAX).contains(&key.len()) && key.bytes().all(|character| character.is_ascii_graphic())
    });
    let key = key.ok_or_else(|| malformed("invalid", "This must have 1 to 255 characters of ASCII, and no space."))?;
    let fingerprint_keys = request.app_data::<Data<FingerprintKeys>>();
    Ok(Some(Sent {
        key: key.to_owned(),
        method: request.method().clone(),
        path: request.match_info().as_str().to_owned(),
        fingerprint_keys: fingerprint_keys
            .cloned()
            .ok_or_else(|| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))?,
    }))
}

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(LENGTH_MAX))
            .pattern(Some("^[!-~]+$"));
        let description = "A name for this request, best a random one: sent again with the same key and body, within 24 \
            hours, it is answered as it was the first time, and nothing more is done.";
        vec![parameter(ParameterIn::Header, HEADER, description, schema)]
    }
}
