//! JSON bodies, and a post that is read of one. An input is a body.

use posts_api::http::json::parse;
use posts_api::http::problem::Code;
use posts_api::posts::NewPost;
use serde_json::{Number, Value};

use super::{assert_is_refusal, has_fraction};

/// A body is read where it is JSON that all parsers agree on, and what is read of it follows the rules of a post.
pub fn holds(data: &[u8]) {
    // Of our own trusted parser: it keeps the last of two equal keys, so fewer keys are left than there are colons.
    let reference = serde_json::from_slice::<Value>(data).ok().filter(|value| keys(value) == colons(data));
    match parse(data) {
        Ok(value) => {
            assert_eq!(Some(&value), reference.map(with_whole_numbers).as_ref());
            if let Ok(text) = serde_json::to_vec(&value)
                && !has_fraction(&value)
            {
                assert_eq!(parse(&text).unwrap(), value);
            }
            assert_post(value);
        }
        Err(problem) => {
            assert!(reference.is_none(), "{problem:?}");
            assert_eq!(problem.code(), Code::MalformedJson);
            assert_is_refusal(&problem);
        }
    }
}

fn assert_post(body: Value) {
    let is_right = is_post(&body);
    match NewPost::read(body) {
        Ok(_) => assert!(is_right),
        Err(problem) => {
            assert!(!is_right, "{problem:?}");
            assert_eq!(problem.code(), Code::ValidationFailed);
            assert!(!problem.faults().is_empty());
            assert_is_refusal(&problem);
        }
    }
}

/// The rules of a post, in plain words.
fn is_post(body: &Value) -> bool {
    let Value::Object(members) = body else { return false };
    let is_text =
        |text: &str, min: usize, max: usize| !text.contains('\0') && (min..=max).contains(&text.chars().count());
    members.contains_key("title")
        && members.iter().all(|(name, value)| match (name.as_str(), value) {
            ("title", Value::String(title)) => is_text(title, 1, 255) && !title.trim().is_empty(),
            ("author", Value::String(author)) => is_text(author, 1, 255),
            ("content", Value::String(content)) => is_text(content, 0, 1_000_000),
            ("author" | "content", Value::Null) | ("published", Value::Bool(_)) => true,
            _ => false,
        })
}

/// The colons outside of strings.
fn colons(json: &[u8]) -> usize {
    let (mut colons, mut quoted, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b':' if !quoted => colons += 1,
            _ => {}
        }
    }
    colons
}

fn keys(value: &Value) -> usize {
    match value {
        Value::Array(elements) => elements.iter().map(keys).sum(),
        Value::Object(members) => members.values().map(|value| 1 + keys(value)).sum(),
        _ => 0,
    }
}

/// Numbers that are whole, as integers, as far as each is exact.
fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0);
            let exact = whole.filter(|float| float.abs() < 9_007_199_254_740_992.0);
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and in range")]
            Value::Number(exact.map_or(number, |float| Number::from(float as i64)))
        }
        Value::Array(elements) => elements.into_iter().map(with_whole_numbers).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, with_whole_numbers(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}
