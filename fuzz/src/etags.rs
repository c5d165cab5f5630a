//! `If-Match` and `If-None-Match`. An input is header lines.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use actix_web::test::TestRequest;
use posts_api::db::Timestamp;
use posts_api::http::conditional::{ReadConditions, Validators, WriteConditions};
use posts_api::http::problem::Code;

use super::{assert_is_refusal, extract, with_headers};

/// What the tags are compared with: the third version of the seventh resource.
const CURRENT: &[u8] = b"7.3";
const CODINGS: [&[u8]; 4] = [b"br", b"deflate", b"gzip", b"zstd"];

/// What the grammar says of one of the two headers.
#[derive(Debug)]
enum Reference {
    Absent,
    Malformed,
    Any,
    Tags(Vec<Tag>),
}

#[derive(Debug)]
struct Tag {
    is_weak: bool,
    opaque: Vec<u8>,
}

impl Tag {
    fn parts(&self) -> (&[u8], &[u8]) {
        let suffix = self.opaque.iter().position(|&byte| byte == b';');
        suffix.map_or((&self.opaque, b""), |suffix| (&self.opaque[..suffix], &self.opaque[suffix + 1..]))
    }

    fn is_of_current(&self) -> bool {
        self.parts().0 == CURRENT
    }

    /// Whether it is the current one's plain variant, in whatever content coding.
    fn is_of_plain(&self) -> bool {
        let variant = self.parts().1;
        let plain = variant.is_empty()
            || CODINGS.contains(&variant)
            || CODINGS.iter().any(|coding| variant.strip_prefix(b"+").is_some_and(|rest| rest == *coding));
        self.is_of_current() && plain
    }
}

/// The two headers mean what RFC 9110 says, or are refused as it says.
pub fn holds(data: &[u8]) {
    let request = with_headers(TestRequest::default(), data).to_http_request();
    let wanted = reference(&request, "If-Match");
    let unwanted = reference(&request, "If-None-Match");
    let current = Validators::of_version(7, 3, Timestamp::parse("2026-11-22T09:30:00Z").unwrap());

    let (read, write) = match (extract::<ReadConditions>(&request), extract::<WriteConditions>(&request)) {
        (Ok(read), Ok(write)) => (read, write),
        (Err(problem), Err(same)) => {
            assert_eq!((problem.code(), same.code()), (Code::MalformedHeader, Code::MalformedHeader));
            let malformed = [&wanted, &unwanted].iter().filter(|it| matches!(it, Reference::Malformed)).count();
            assert_eq!(problem.faults().len(), malformed, "{wanted:?} {unwanted:?}");
            assert_ne!(malformed, 0, "{wanted:?} {unwanted:?}");
            assert_is_refusal(&problem);
            return;
        }
        (read, write) => panic!("{read:?} {write:?}"),
    };
    let has_date = request.headers().contains_key("If-Unmodified-Since");
    let matches = match &wanted {
        Reference::Malformed => panic!("{wanted:?} was read"),
        Reference::Absent if has_date => return,
        Reference::Absent | Reference::Any => true,
        Reference::Tags(tags) => tags.iter().any(|tag| !tag.is_weak && tag.is_of_current()),
    };
    let (writes, is_known) = match &unwanted {
        Reference::Malformed => panic!("{unwanted:?} was read"),
        // Then there may be a date.
        Reference::Absent => (true, None),
        Reference::Any => (false, Some(true)),
        Reference::Tags(tags) => (!tags.iter().any(Tag::is_of_current), Some(tags.iter().any(Tag::is_of_plain))),
    };
    let written = write.check(&current);
    assert_eq!(written.is_ok(), matches && writes, "{wanted:?} {unwanted:?}");
    if let Err(problem) = &written {
        assert_eq!(problem.code(), Code::PreconditionFailed);
        assert_is_refusal(problem);
    }
    match read.not_modified(&current) {
        Ok(answer) => {
            assert!(matches, "{wanted:?}");
            if let Some(is_known) = is_known {
                assert_eq!(answer.is_some(), is_known, "{unwanted:?}");
            }
            if let Some(mut answer) = answer {
                let answer = answer.finish();
                assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
                let tag = answer.headers().get("ETag").unwrap().as_bytes();
                assert!(tag.starts_with(b"\"7.3") && tag.ends_with(b"\""), "{tag:?}");
            }
        }
        Err(problem) => {
            assert!(!matches, "{wanted:?}");
            assert_eq!(problem.code(), Code::PreconditionFailed);
        }
    }
}

/// Malformed is also what has bytes beyond ASCII: the grammar has them (obs-text), and our document has not.
///
/// RFC 9110 §13.1.1 with §5.3 (several lines are one, with commas between them) and §5.6.1.2 (empty elements are none).
fn reference(request: &HttpRequest, name: &str) -> Reference {
    let lines: Vec<_> = request.headers().get_all(name).map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return Reference::Absent;
    }
    let value = lines.join(&b',');
    if !value.is_ascii() {
        return Reference::Malformed;
    }
    if trim(&value) == b"*" {
        return Reference::Any;
    }
    match elements(&value).map(|elements| elements.into_iter().map(tag).collect::<Option<Vec<_>>>()) {
        Some(Some(tags)) if !tags.is_empty() => Reference::Tags(tags),
        _ => Reference::Malformed,
    }
}

/// What is between the commas that are not within quotes. A tag's quotes know no escape.
fn elements(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut quoted = false;
    let elements = value.split(|&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    });
    let elements = elements.map(trim).filter(|element| !element.is_empty()).collect();
    (!quoted).then_some(elements)
}

fn tag(element: &[u8]) -> Option<Tag> {
    let (is_weak, quoted) = element.strip_prefix(b"W/").map_or((false, element), |rest| (true, rest));
    let opaque = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let allowed = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e);
    opaque.iter().all(allowed).then(|| Tag { is_weak, opaque: opaque.to_owned() })
}

/// Without the blanks around it, which are spaces and tabs (§5.6.3).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
