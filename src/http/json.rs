//! JSON bodies: read whole, in time, strictly.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Fault, Problem};

/// The media type of JSON.
pub const MEDIA_TYPE: &str = "application/json";

/// The most values that a document may have, whatever is in what. An object of one member takes some hundred times the
/// memory of its bytes: so a tree takes no more than a body may, and no body of this service needs more than a few.
const VALUES_MAX: usize = 10_000;

/// The largest body, in bytes, at an address where one need not have shown who one is. Nothing that is sent there is long,
/// and everybody may send it, many at once.
#[derive(Clone, Copy, Debug)]
pub struct StrangersBody(pub usize);

/// How large a request's body may be, and how long it may take to arrive.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// In bytes.
    pub size: usize,
    /// From the end of the head to the end of the body.
    pub timeout: Duration,
}

/// How many bytes all bodies have together that are being worked on; so that many large ones at once do not use up the
/// memory. A clone is of the same ones.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Semaphore>);

/// What a request's body takes of it, until the request is done with.
struct Spent(OwnedSemaphorePermit);

impl BodyBudget {
    /// So many of the largest.
    const LARGEST: usize = 16;

    /// What is there for bodies within these limits.
    #[must_use]
    pub fn for_bodies(limits: BodyLimits) -> Self {
        let size = limits.size.saturating_mul(Self::LARGEST).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(size)))
    }

    /// Counts bytes that have arrived for a request.
    fn spend(&self, request: &HttpRequest, bytes: usize) -> Result<(), Problem> {
        let permit = u32::try_from(bytes).ok().and_then(|bytes| Arc::clone(&self.0).try_acquire_many_owned(bytes).ok());
        let Some(permit) = permit else {
            let detail = "The server has as many bodies to read as it can hold. Try again.";
            return Err(Problem::new(Code::Unavailable, detail));
        };
        let mut extensions = request.extensions_mut();
        match extensions.get_mut::<Spent>() {
            Some(Spent(before)) => before.merge(permit),
            None => drop(extensions.insert(Spent(permit))),
        }
        Ok(())
    }
}

/// A JSON document sent as `application/json`, and nothing else.
#[derive(Debug)]
pub struct JsonBody(pub Value);

impl FromRequest for JsonBody {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = read_body(request, payload, &[MEDIA_TYPE]);
        Box::pin(async move {
            let (_, bytes) = body.await?;
            parse(&bytes).map(Self)
        })
    }
}

/// Reads the body of one of these media types, and says which it is. The first stands for the type that a
/// request without any must have meant if it has no body either.
pub(super) fn read_body(
    request: &HttpRequest,
    payload: &mut Payload,
    media_types: &'static [&'static str],
) -> impl Future<Output = Result<(&'static str, Bytes), Problem>> + 'static {
    let mut limits = request.app_data::<Data<BodyLimits>>().map(|limits| ***limits);
    if let (Some(limits), Some(StrangersBody(size))) = (&mut limits, request.app_data()) {
        limits.size = limits.size.min(*size);
    }
    let budget = request.app_data::<Data<BodyBudget>>().cloned();
    let request = request.clone();
    let head = check_head(request.headers(), limits, media_types);
    let mut payload = payload.take();
    async move {
        let media_type = head?;
        let (Some(limits), Some(budget)) = (limits, budget) else {
            return Err(Problem::of_status(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR));
        };
        let read = async {
            let mut bytes = BytesMut::new();
            while let Some(chunk) = payload.next().await {
                let chunk = chunk.map_err(|_| malformed("", "incomplete", "The body ended before it was complete."))?;
                if bytes.len() + chunk.len() > limits.size {
                    return Err(too_large(limits));
                }
                budget.spend(&request, chunk.len())?;
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes.freeze())
        };
        let bytes = tokio::time::timeout(limits.timeout, read).await.map_err(|_| {
            let seconds = limits.timeout.as_secs_f64();
            Problem::new(Code::RequestTimeout, format!("The body must arrive within {seconds} seconds."))
        })??;
        if bytes.is_empty() {
            return Err(malformed("", "missing", "The request needs a body."));
        }
        Ok((media_type?, bytes))
    }
}

/// What the head says of the body. The outer error ends the request before the body is read; the inner one
/// only matters once there is a body.
fn check_head(
    headers: &HeaderMap,
    limits: Option<BodyLimits>,
    media_types: &'static [&'static str],
) -> Result<Result<&'static str, Problem>, Problem> {
    let unsupported = |detail: String| {
        Problem::new(Code::UnsupportedMediaType, format!("{detail} Send {}.", media_types.join(" or ")))
    };
    if headers.get_all(header::CONTENT_ENCODING).any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "Request bodies are read as they are, without a content coding: leave out `Content-Encoding`.";
        let problem = Problem::new(Code::UnsupportedMediaType, detail);
        // What would do (RFC 9110 §15.5.16).
        return Err(problem.with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if let (Some(limits), Some(length)) = (limits, length)
        && length > limits.size
    {
        return Err(too_large(limits));
    }
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Err(unsupported("The request has a body and no `Content-Type`.".to_owned())));
    };
    let parsed = content_type.to_str().ok().and_then(|text| text.parse::<mime::Mime>().ok());
    let found = parsed.and_then(|sent| {
        let utf8 = sent.get_param(mime::CHARSET).is_none_or(|charset| charset == mime::UTF_8);
        media_types.iter().copied().find(|known| utf8 && sent.essence_str() == *known)
    });
    found.map(Ok).ok_or_else(|| unsupported("This operation does not read the body's `Content-Type`.".to_owned()))
}

fn too_large(limits: BodyLimits) -> Problem {
    Problem::new(Code::ContentTooLarge, format!("The body must not be larger than {} bytes.", limits.size))
}

/// A 400 about the body.
pub(super) fn malformed(pointer: &str, code: &'static str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    Problem::new(Code::MalformedJson, detail.clone()).with_faults(vec![Fault::at_pointer(pointer, code, detail)])
}

/// Parses a JSON document (RFC 8259), and refuses what parsers disagree on: a key given twice, anything but
/// UTF-8, half a surrogate pair. Refuses more values than any body here has, too. A number without a fraction is an integer however it is written, as JSON Schema
/// has it, so that `1.0` equals `1`.
pub fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let (twice, left) = (RefCell::new(None), Cell::new(Some(VALUES_MAX)));
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = Strict { twice: &twice, left: &left }.deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    parsed.map_err(|error| {
        if left.get().is_none() {
            let detail = format!("The body must not have more than {VALUES_MAX} values, in whatever they are.");
            return Problem::new(Code::ContentTooLarge, detail);
        }
        if let Some(key) = twice.into_inner() {
            return malformed("", "duplicate_key", format!("The key {key:?} is given twice in one object."));
        }
        let (line, column) = (error.line(), error.column());
        malformed("", "invalid_syntax", format!("The body is not valid JSON at line {line}, column {column}."))
    })
}

/// Builds a [`Value`] as serde's own visitor does, but for keys given twice, of which that keeps the last, and as long as
/// there are not too many.
#[derive(Clone, Copy)]
struct Strict<'a> {
    /// Where a key that came twice is left for the error.
    twice: &'a RefCell<Option<String>>,
    /// How many values there may be yet; `None` once there was one more.
    left: &'a Cell<Option<usize>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(1)));
        if self.left.get().is_none() {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        #[expect(clippy::cast_precision_loss, reason = "2^53 - 1 is the largest integer that loses none")]
        let exact = value.fract() == 0.0 && value.abs() <= super::MAX_INTEGER as f64;
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and in range")]
        let number = if exact { Some(Number::from(value as i64)) } else { Number::from_f64(value) };
        Ok(number.map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = seq.next_element_seed(self)? {
            array.push(element);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                *self.twice.borrow_mut() = Some(key);
                return Err(A::Error::custom("a key given twice"));
            }
            let value = map.next_value_seed(self)?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}
