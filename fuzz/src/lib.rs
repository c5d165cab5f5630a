//! What must hold of the service whatever strangers send it: a module a parser, and in each a function that takes any
//! bytes and panics where something does not hold.
//!
//! libFuzzer calls them through `fuzz_targets`. The program's own `tests/corpus.rs` includes this file, so that `cargo
//! test` replays the corpus with nothing of cargo-fuzz's, and `cargo clippy` there reads it, too.
//!
//! An input is text where the parser reads text, and of several parts where it reads several: one a line. So the
//! corpus can be read and written by hand, and a dictionary is of use.

pub mod cursor;
pub mod etags;
pub mod excerpt;
pub mod filters;
pub mod forwarded;
pub mod headers;
pub mod json;
pub mod patch;
pub mod search;
pub mod token;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::test::TestRequest;
use actix_web::{FromRequest, HttpRequest};
use futures_util::FutureExt as _;
use posts_api::http::problem::Problem;
use serde_json::Value;

/// A target, and what must hold of any input of it.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("cursor", cursor::holds),
    ("etags", etags::holds),
    ("excerpt", excerpt::holds),
    ("filters", filters::holds),
    ("forwarded", forwarded::holds),
    ("headers", headers::holds),
    ("json", json::holds),
    ("patch", patch::holds),
    ("search", search::holds),
    ("token", token::holds),
];

/// The most faults that an answer names: 100 of one kind, and a few of others.
const FAULTS_MAX: usize = 200;

/// The lines of an input, the last of which has all that is left. Those that are missing are empty.
fn lines<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let mut lines = std::str::from_utf8(data).ok()?.splitn(N, '\n');
    Some([(); N].map(|()| lines.next().unwrap_or_default()))
}

/// A request with these lines as its headers; other bytes than a header may have are left out with their line.
fn with_headers(mut request: TestRequest, lines: &[u8]) -> TestRequest {
    for line in lines.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            request = request.append_header((name, value));
        }
    }
    request
}

/// What an extractor that reads the head alone makes of it.
fn extract<T: FromRequest>(request: &HttpRequest) -> Result<T, T::Error> {
    T::extract(request).now_or_never().expect("nothing is waited for")
}

/// A refusal that can be sent: it is the client's fault, each thing that is wrong has one place, and it renders.
fn assert_is_refusal(problem: &Problem) {
    let status = problem.code().status();
    assert!(status.is_client_error(), "{problem:?}");
    assert!(!problem.detail().is_empty());
    assert!(problem.faults().len() <= FAULTS_MAX, "{} faults", problem.faults().len());
    let body = serde_json::to_vec(&problem.body("/posts", "id")).expect("it renders");
    let body: Value = serde_json::from_slice(&body).expect("it is JSON");
    assert_eq!(body["status"], status.as_u16());
    for fault in body["errors"].as_array().into_iter().flatten() {
        let places = ["pointer", "parameter", "header"].map(|place| fault.get(place)).into_iter().flatten();
        assert_eq!(places.count(), 1, "{fault}");
        assert!(!fault["code"].as_str().unwrap().is_empty() && !fault["detail"].as_str().unwrap().is_empty());
        if let Some(pointer) = fault["pointer"].as_str() {
            assert!(tokens(pointer).is_some(), "{pointer:?}");
        }
    }
}

/// The names and indexes of a JSON Pointer (RFC 6901 §3).
fn tokens(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    let escapes_are_known = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    let tokens = pointer.strip_prefix('/').filter(|_| escapes_are_known)?.split('/');
    Some(tokens.map(|token| token.replace("~1", "/").replace("~0", "~")).collect())
}

/// The values of a header's lines, where all of them are visible ASCII and blanks.
fn values<'a>(request: &'a HttpRequest, name: &str) -> Option<Vec<&'a str>> {
    request.headers().get_all(name).map(|value| value.to_str().ok()).collect()
}

/// Whether there is a number in it that is not read as it was written, to the last bit.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(elements) => elements.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        _ => false,
    }
}
