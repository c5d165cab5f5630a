//! Headers that are read leniently, or by rules of ours: `Authorization`, `Prefer`, `Posts-Position` and its cookie,
//! `Idempotency-Key`. An input is header lines.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;
use actix_web::test::TestRequest;
use actix_web::web::Data;
use futures_util::FutureExt as _;
use posts_api::auth;
use posts_api::db::Position;
use posts_api::http::cookies;
use posts_api::http::idempotency::{FingerprintKeys, IdempotencyKey};
use posts_api::http::prefer::Prefer;
use posts_api::http::problem::{Code, Problem};
use posts_api::http::read_after::{COOKIE, ReadAfter};
use serde_json::Value;

use super::{assert_is_refusal, extract, values, with_headers};

/// Each is read as it says, or refused.
pub fn holds(data: &[u8]) {
    let keys = FingerprintKeys::new([[1; 32]]).unwrap();
    let request = TestRequest::post().uri("/posts").app_data(Data::new(keys));
    let request = with_headers(request, data).to_http_request();
    assert_nobody_is_let_in(&request);
    assert_prefers(&request);
    assert_reads_after(&request);
    assert_attempts(&request);
}

/// Without users there is nobody whose credential it could be.
fn assert_nobody_is_let_in(request: &HttpRequest) {
    let lines = request.headers().get_all("Authorization").count();
    match auth::authenticate(request.clone()).now_or_never().expect("nothing is waited for") {
        Ok(()) => assert_eq!(lines, 0),
        Err(problem) => {
            assert_eq!(problem.code(), if lines > 1 { Code::MalformedHeader } else { Code::Unauthorized });
            assert_is_refusal(&problem);
        }
    }
}

/// RFC 7240 §2: the first `count` counts.
fn assert_prefers(request: &HttpRequest) {
    let Ok(Prefer { count }) = extract::<Prefer>(request);
    // What is in quotes is told apart no further.
    let Some(lines) = values(request, "Prefer").filter(|lines| !lines.iter().any(|line| line.contains('"'))) else {
        return;
    };
    let preferences = lines.iter().flat_map(|line| line.split(',')).filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim()))
    });
    let first = preferences.into_iter().find(|(name, _)| name == "count");
    assert_eq!(count, first.is_some_and(|(_, value)| value == "exact"), "{lines:?}");
}

/// Of what a request names, the furthest; what cannot be read is further than all.
fn assert_reads_after(request: &HttpRequest) {
    let Ok(ReadAfter(position)) = extract::<ReadAfter>(request);
    let headers = request.headers().get_all("Posts-Position").map(|value| value.to_str().ok());
    let cookies = cookies::values(request, COOKIE);
    let pairs = request.headers().get_all("Cookie").map(|line| line.as_bytes().split(|&byte| byte == b';').count());
    assert!(cookies.len() <= pairs.sum::<usize>());
    let named: Vec<_> = headers.chain(cookies.iter().map(|value| Some(value.as_str()))).collect();
    let furthest = named.iter().map(|text| text.and_then(log_position).unwrap_or(u64::MAX)).max();
    assert_eq!(position.map(number), furthest, "{named:?}");
}

fn number(position: Position) -> u64 {
    let text = position.to_string();
    assert_eq!(text.parse(), Ok(position));
    log_position(&text).expect("it is written as it is read")
}

/// Two halves in hexadecimal.
fn log_position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |digits: &str| {
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        u32::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    Some(u64::from(half(high)?) << 32 | u64::from(half(low)?))
}

/// A key is one line of 1 to 255 visible characters.
fn assert_attempts(request: &HttpRequest) {
    let lines: Vec<_> = request.headers().get_all("Idempotency-Key").map(HeaderValue::as_bytes).collect();
    let is_key = |key: &[u8]| (1..=255).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    match extract::<IdempotencyKey>(request) {
        Ok(key) => {
            assert!(lines.is_empty() || matches!(lines[..], [line] if is_key(line)), "{lines:?}");
            assert_eq!(key.attempt(1, &Value::Null).has_key(), !lines.is_empty());
        }
        Err(problem) => {
            let problem: Problem = problem;
            assert!(!matches!(lines[..], [line] if is_key(line)), "{lines:?}");
            assert_eq!(problem.code(), Code::MalformedHeader);
            assert_is_refusal(&problem);
        }
    }
}
