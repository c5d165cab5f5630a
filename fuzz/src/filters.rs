//! What is asked of the list of posts. An input is a query string.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::Uri;
use actix_web::test::TestRequest;
use posts_api::db::Timestamp;
use posts_api::http::page::{LIMIT_MAX, PageRequest};
use posts_api::http::problem::Code;
use posts_api::http::query::Parameters;
use posts_api::posts::PostList;
use posts_api::search;

use super::assert_is_refusal;

const SORTS: [&str; 4] = ["created_on", "updated_on", "title", "id"];
const BOUNDS: [&str; 4] = ["[gte]", "[gt]", "[lte]", "[lt]"];
const FIELDS: [&str; 11] = [
    "id",
    "title",
    "author",
    "content",
    "published",
    "owner_id",
    "created_on",
    "updated_on",
    "version",
    "excerpt",
    "highlights",
];
const COUNT_MAX: usize = 100;

/// A query is read where all of it can be, whatever its order, and else refused with the parameters that are wrong.
pub fn holds(data: &[u8]) {
    let Some(uri) = std::str::from_utf8(data).ok().map(|query| format!("/posts?{query}")) else { return };
    if uri.parse::<Uri>().is_err() {
        return;
    }
    let request = TestRequest::with_uri(&uri).to_http_request();
    let wrong = wrong_parameters(request.query_string());
    assert!((1..=LIMIT_MAX).contains(&PageRequest::read(&mut Parameters::of(&request)).limit));
    match PostList::read(Parameters::of(&request)) {
        Ok(list) => {
            assert_eq!(wrong, BTreeSet::new());
            let mut pairs: Vec<_> = request.query_string().split('&').collect();
            pairs.reverse();
            let reversed = TestRequest::with_uri(&format!("/posts?{}", pairs.join("&"))).to_http_request();
            assert_eq!(PostList::read(Parameters::of(&reversed)).unwrap(), list);
        }
        Err(problem) => {
            assert_eq!(problem.code(), Code::MalformedQuery);
            assert_is_refusal(&problem);
            let faults = serde_json::to_value(problem.faults()).unwrap();
            let named = faults.as_array().unwrap().iter().map(|fault| fault["parameter"].as_str().unwrap().to_owned());
            assert_eq!(named.collect::<BTreeSet<_>>(), wrong);
        }
    }
}

/// The names of those that are wrong, by the plain words of the document.
fn wrong_parameters(query: &str) -> BTreeSet<String> {
    let (mut given, mut wrong) = (BTreeMap::new(), BTreeSet::new());
    for (index, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if index == COUNT_MAX {
            wrong.insert(name.to_owned());
            break;
        }
        match (decode(name), decode(value)) {
            (Some(name), Some(_)) if given.contains_key(&name) => {
                wrong.insert(name);
            }
            (Some(name), Some(value)) => {
                given.insert(name, value);
            }
            _ => {
                wrong.insert(name.to_owned());
            }
        }
    }
    wrong.extend(given.into_iter().filter(|(name, value)| !is_right(name, value)).map(|(name, _)| name));
    wrong
}

fn is_right(name: &str, value: &str) -> bool {
    let is_text = !value.is_empty() && !value.contains('\0');
    match name {
        "limit" => {
            let digits = value.trim_start_matches('0');
            value.bytes().all(|byte| byte.is_ascii_digit())
                && (digits.len() < 3 && !digits.is_empty() || digits == "100")
        }
        "cursor" | "author" => is_text,
        "published" => ["true", "false"].contains(&value),
        "q" => is_text && search::Query::parse(value).is_ok(),
        "sort" => SORTS.contains(&value.strip_prefix('-').unwrap_or(value)),
        "fields" => value.split(',').all(|field| FIELDS.contains(&field)),
        _ => match name.strip_prefix("created_on").or_else(|| name.strip_prefix("updated_on")) {
            Some(bound) if BOUNDS.contains(&bound) => is_instant(value),
            _ => false,
        },
    }
}

/// Whether it is RFC 3339; and then, as it is written by us, it is the same instant.
fn is_instant(text: &str) -> bool {
    let Some(instant) = Timestamp::parse(text) else { return false };
    let written = instant.to_string();
    assert_eq!(written.len(), "2026-11-22T09:30:00.000000Z".len(), "{text:?} is {written:?}");
    assert_eq!(Timestamp::parse(&written), Some(instant), "{text:?} is {written:?}");
    // Each field of it is a number of two or four digits, and it has a zone.
    let begin = text.bytes().zip("0000-00-00T00:00:00".bytes());
    let is_field = |(byte, of): (u8, u8)| if of == b'0' { byte.is_ascii_digit() } else { !byte.is_ascii_digit() };
    assert!(text.len() > 19 && begin.into_iter().all(is_field), "{text:?} was read");
    true
}

/// Percent-decoding where `+` is a space; `None` for what is no escape, and no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || (bytes.next()? as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        decoded.push(match byte {
            b'%' => digit()? << 4 | digit()?,
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}
