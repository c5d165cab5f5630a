//! Errors: one table of codes, one body (RFC 9457), whichever layer failed.
//!
//! A [`Problem`] is made where the fault is found, and rendered by the [middleware](super::middleware), which
//! knows the request's path and id. What no layer of ours made (a refusal of the framework's) becomes the problem
//! of its status there.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::db;

/// The media type of every error body.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// How long a client should wait before it tries again what met a 503, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong, in terms that a program can act on. The table of all errors: each has a code, a
        /// status, a title, and a page in `docs/problems` that `/problems/<code>` shows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// All of them, by status.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as clients see it, the last part of a problem's `type`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The status that always goes with the code.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// The same words for every problem with this code.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// The page that explains it, in Markdown.
            #[must_use]
            pub const fn page(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("../../docs/problems/", $code, ".md")),)* }
            }
        }
    };
}

codes! {
    /// The body is no JSON, or no patch document.
    MalformedJson = "malformed-json", BAD_REQUEST, "Malformed JSON";
    /// A query parameter is unknown, given twice, or has a value that it cannot have.
    MalformedQuery = "malformed-query", BAD_REQUEST, "Malformed query";
    /// A header has a value that its standard does not allow.
    MalformedHeader = "malformed-header", BAD_REQUEST, "Malformed header";
    /// The cursor is not one that this list gave.
    InvalidCursor = "invalid-cursor", BAD_REQUEST, "Invalid cursor";
    /// There is no token, or not a good one.
    Unauthorized = "unauthorized", UNAUTHORIZED, "Unauthorized";
    /// The caller may not do this.
    Forbidden = "forbidden", FORBIDDEN, "Forbidden";
    /// There is nothing here that the caller may see.
    NotFound = "not-found", NOT_FOUND, "Not found";
    /// What is here does not take this method.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "Method not allowed";
    /// The answer exists in no form that the request accepts.
    NotAcceptable = "not-acceptable", NOT_ACCEPTABLE, "Not acceptable";
    /// The body did not arrive in time.
    RequestTimeout = "request-timeout", REQUEST_TIMEOUT, "Request timeout";
    /// The state is not the one that the request builds on.
    Conflict = "conflict", CONFLICT, "Conflict";
    /// The first request with this idempotency key is still running.
    IdempotencyInProgress = "idempotency-in-progress", CONFLICT, "Idempotency in progress";
    /// The resource changed since the caller read it.
    PreconditionFailed = "precondition-failed", PRECONDITION_FAILED, "Precondition failed";
    /// The body is larger than the server takes.
    ContentTooLarge = "content-too-large", PAYLOAD_TOO_LARGE, "Content too large";
    /// The body's media type or coding is not one that this operation reads.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "Unsupported media type";
    /// The body is JSON and breaks rules.
    ValidationFailed = "validation-failed", UNPROCESSABLE_ENTITY, "Validation failed";
    /// The idempotency key came with another body before.
    IdempotencyKeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "Idempotency key reused";
    /// This server takes writes with `If-Match` only.
    PreconditionRequired = "precondition-required", PRECONDITION_REQUIRED, "Precondition required";
    /// The caller is over a limit.
    TooManyRequests = "too-many-requests", TOO_MANY_REQUESTS, "Too many requests";
    /// The request's header section is larger than the server takes.
    HeaderFieldsTooLarge = "header-fields-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "Header fields too large";
    /// A fault of the server's.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal server error";
    /// The server cannot answer now, and may soon.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Unavailable";
    /// There is no room left to store anything.
    InsufficientStorage = "insufficient-storage", INSUFFICIENT_STORAGE, "Insufficient storage";
}

impl Code {
    /// The code of an answer that has only a status: the framework's own refusals.
    fn of_status(status: StatusCode) -> Self {
        if status == StatusCode::BAD_REQUEST {
            // Bodies and queries are read by ours; what is left are headers, of a CORS preflight for one.
            return Self::MalformedHeader;
        }
        let known = Self::ALL.iter().copied().find(|code| code.status() == status);
        known.unwrap_or(if status.is_server_error() { Self::Internal } else { Self::MalformedHeader })
    }
}

/// A failure, on its way to be an answer.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    faults: Vec<Fault>,
    headers: HeaderMap,
    cause: Option<String>,
}

/// One thing that is wrong with a request, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// A JSON Pointer (RFC 6901) into the body; empty for the body as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/title")]
    pointer: Option<String>,
    /// The name of a query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "limit")]
    parameter: Option<String>,
    /// The name of a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "If-Match")]
    header: Option<String>,
    /// Which rule is broken, for programs.
    #[schema(example = "too_long")]
    code: Cow<'static, str>,
    /// The same for people, with the mend.
    #[schema(example = "`title` must have 1 to 255 characters; this one has 300.")]
    detail: String,
}

impl Fault {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: None, header: None, code: code.into(), detail: detail.into() }
    }

    /// A fault in the body, at a JSON Pointer.
    pub fn at_pointer(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), ..Self::new(code, detail) }
    }

    /// What is wrong, for people, with the mend.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// A fault of a query parameter.
    pub fn at_parameter(name: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { parameter: Some(name.into()), ..Self::new(code, detail) }
    }

    /// A fault of a header.
    pub fn at_header(name: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { header: Some(name.into()), ..Self::new(code, detail) }
    }
}

impl Problem {
    /// A problem with this code. `detail` says what is wrong here and what would mend it; it is shown to the
    /// caller, so it holds nothing of the server's inside.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let problem = Self { code, detail: detail.into(), faults: Vec::new(), headers: HeaderMap::new(), cause: None };
        if code == Code::Unavailable { problem.with_header(header::RETRY_AFTER, RETRY_AFTER) } else { problem }
    }

    /// The answer for what is not there, and for what the caller may not see: the same for both.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "There is nothing at this address.")
    }

    /// The answer to what should not have failed, with the cause for the log.
    #[must_use]
    pub fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        Self::of_status(StatusCode::INTERNAL_SERVER_ERROR).with_cause(cause)
    }

    /// The answer for a body that breaks these rules.
    #[must_use]
    pub fn validation(faults: Vec<Fault>) -> Self {
        let detail = match faults.len() {
            1 => "The request body breaks a rule; see `errors`.".to_owned(),
            count => format!("The request body breaks {count} rules; see `errors`."),
        };
        Self::new(Code::ValidationFailed, detail).with_faults(faults)
    }

    /// The answer for headers that cannot be read.
    #[must_use]
    pub fn malformed_header(faults: Vec<Fault>) -> Self {
        Self::new(Code::MalformedHeader, "A header cannot be read; see `errors`.").with_faults(faults)
    }

    /// Adds what is wrong, one by one.
    #[must_use]
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Adds the cause, which goes to the log and never to the caller.
    #[must_use]
    pub fn with_cause(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut chain = cause.to_string();
        let mut source = cause.source();
        while let Some(error) = source {
            chain.push_str(": ");
            chain.push_str(&error.to_string());
            source = error.source();
        }
        self.cause = Some(chain);
        self
    }

    /// The problem of an answer that has only a status.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let code = Code::of_status(status);
        let detail = match code {
            Code::NotFound => return Self::not_found(),
            Code::NotAcceptable => {
                "The answer can be sent plain or in gzip, br, zstd and deflate, and `Accept-Encoding` refuses all of them."
            }
            Code::Internal => "Something failed on the server. The fault is logged under this `request_id`.",
            _ => "The request was refused.",
        };
        Self::new(code, detail)
    }

    /// The kind of problem.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What is wrong, for people, with the mend.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Each thing that is wrong with the input.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What the log should say of it.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body, for a request to `path` with this id.
    #[must_use]
    pub fn body<'a>(&'a self, path: &'a str, request_id: &'a str) -> ProblemBody<'a> {
        ProblemBody {
            r#type: format!("/problems/{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            instance: uri_reference(path),
            request_id,
            errors: &self.faults,
        }
    }
}

/// What every answer with a status of 400 or more looks like (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// The kind of problem: the address, on this server, of a page that explains it.
    #[schema(format = "uri-reference", example = "/problems/not-found")]
    r#type: String,
    /// The kind in a few words, always the same for a type.
    #[schema(example = "Not found")]
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, example = 404)]
    status: u16,
    /// What is wrong here, and what would mend it.
    #[schema(example = "There is nothing at this address.")]
    detail: &'a str,
    /// The path of the request.
    #[schema(format = "uri-reference", example = "/posts/7")]
    instance: Cow<'a, str>,
    /// The request's id, under which the server's log speaks of it; also in `X-Request-Id`.
    #[schema(example = "0b1c9f1e-6a8f-4c39-9d61-0e5d7c3a2b10")]
    request_id: &'a str,
    /// For faults of the input: each of them.
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [Fault],
}

/// A path as it was sent, but for what no URI may have (RFC 3986 §3.3), which a server may be sent all the same, and for
/// a second `/` at its beginning, behind which a host would be looked for.
fn uri_reference(path: &str) -> Cow<'_, str> {
    const FORBIDDEN: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'<')
        .add(b'>')
        .add(b'[')
        .add(b'\\')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    let encoded = Cow::from(utf8_percent_encode(path, FORBIDDEN));
    // Where one `%` begins no escape, all of them stand for themselves.
    let is_whole = |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let encoded = if encoded.split('%').skip(1).all(is_whole) { encoded } else { encoded.replace('%', "%25").into() };
    encoded.strip_prefix("//").map(|rest| format!("/%2F{rest}").into()).unwrap_or(encoded)
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    /// An answer without a body, which carries the problem to the middleware.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.code.status());
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl From<diesel::result::Error> for Problem {
    fn from(error: diesel::result::Error) -> Self {
        db::Error::from(error).into()
    }
}

impl From<db::Error> for Problem {
    fn from(error: db::Error) -> Self {
        let (code, detail) = match &error {
            db::Error::NotReady => (Code::Unavailable, "The database is not ready yet."),
            db::Error::Overloaded => (Code::Unavailable, "The server has more requests than it can answer. Try again."),
            db::Error::Unreachable(_) => (Code::Unavailable, "The database cannot be reached."),
            db::Error::Locked(_) => (Code::Unavailable, "The database is busy. Nothing was changed; try again."),
            db::Error::Undone => {
                (Code::Unavailable, "Another write failed, and took this one with it. Nothing was changed; try again.")
            }
            db::Error::ConnectionLost(_) | db::Error::Timeout => {
                (Code::Unavailable, "The database gave no answer. If this was a write, it may have been carried out.")
            }
            db::Error::StorageFull(_) => {
                (Code::InsufficientStorage, "There is no room left to store this. Nothing was changed.")
            }
            db::Error::Taken(_) => (Code::Conflict, "Something else has this value already. Nothing was changed."),
            db::Error::Dangling(_) => {
                (Code::Conflict, "What this belongs to was deleted meanwhile. Nothing was changed.")
            }
            db::Error::Query(_) | db::Error::Panicked => {
                return Self::internal(&error);
            }
        };
        Self::new(code, detail).with_cause(&error)
    }
}
