//! Conditional requests (RFC 9110 §13): `ETag`, and the headers by which a client says which state it builds on.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{self, ContentEncoding, HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder};
use aws_lc_rs::digest;
use data_encoding::BASE64URL_NOPAD;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Type};

use super::coding::codings;
use super::problem::{Code, Fault, Problem};
use super::schema::parameter;
use crate::db::Timestamp;

/// Sets the variant apart from the state in a tag, as in `"7.3;gzip"`.
const SUFFIX: &str = ";";
/// Joins the parts of a variant, as in `"7.3;title+gzip"`. No comma, at which some clients split lists of tags.
const JOINT: &str = "+";
/// The content codings, by which a tag may end.
const CODINGS: [&str; 4] = ["br", "deflate", "gzip", "zstd"];

/// What `If-Match` and `If-None-Match` may say (RFC 9110 §13.1.1), as a pattern.
const TAGS: &str = r#"^(\*|[ \t,]*(W/)?"[!#-~]*"([ \t]*,[ \t,]*(W/)?"[!#-~]*")*[ \t,]*)$"#;

/// Whether a write must say which state it builds on (`--require-if-match`).
#[derive(Clone, Copy, Debug)]
pub struct RequireIfMatch(pub bool);

/// What the tag of an answer is made of, and its `Last-Modified`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// What every variant's tag begins with.
    opaque: String,
    /// Which variant the answer is, but for its content coding; empty for the plain one.
    variant: String,
    updated_on: Option<Timestamp>,
}

impl Validators {
    /// Those of a resource in this version.
    #[must_use]
    pub fn of_version(id: i64, version: i64, updated_on: Timestamp) -> Self {
        Self { opaque: format!("{id}.{version}"), variant: String::new(), updated_on: Some(updated_on) }
    }

    /// Those of an answer that is nothing but its bytes.
    #[must_use]
    pub fn of_bytes(body: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, body);
        Self { opaque: BASE64URL_NOPAD.encode(digest.as_ref()), variant: String::new(), updated_on: None }
    }

    /// The same state in another variant: with other bytes, and so another tag. An empty name is the plain one's.
    #[must_use]
    pub fn in_variant(self, variant: impl Into<String>) -> Self {
        Self { variant: variant.into(), ..self }
    }

    /// The strong entity tag of the answer in this content coding.
    fn etag(&self, coding: Option<&str>) -> String {
        let parts = [self.variant.as_str(), coding.unwrap_or_default()];
        let variant = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(JOINT);
        let suffix = if variant.is_empty() { variant } else { format!("{SUFFIX}{variant}") };
        format!("\"{}{suffix}\"", self.opaque)
    }

    /// Whether a tag is this state's, in any variant.
    fn is_tagged(&self, tag: &EntityTag) -> bool {
        tag.parts().0 == self.opaque
    }

    /// Whether a tag is this answer's, in any content coding.
    fn is_tagged_exactly(&self, tag: &EntityTag) -> bool {
        let (opaque, variant) = tag.parts();
        let plain = match variant.rsplit_once(JOINT) {
            Some((plain, coding)) if CODINGS.contains(&coding) => plain,
            None if CODINGS.contains(&variant) => "",
            _ => variant,
        };
        opaque == self.opaque && plain == self.variant
    }

    /// HTTP dates have whole seconds. What has no date was never unmodified since one.
    fn is_unmodified_since(&self, since: i64) -> bool {
        self.updated_on.is_some_and(|updated_on| updated_on.seconds() <= since)
    }

    /// `ETag` and `Last-Modified`, which is never in the future (RFC 9110 §8.8.2.1), also where the clock was set back.
    pub(super) fn headers(&self) -> impl Iterator<Item = (HeaderName, String)> {
        let modified =
            self.updated_on.map(|updated_on| (header::LAST_MODIFIED, http_date(updated_on.min(Timestamp::now()))));
        std::iter::once((header::ETAG, self.etag(None))).chain(modified)
    }

    /// Sets `ETag` and `Last-Modified`.
    pub fn set_on<'a>(&self, response: &'a mut HttpResponseBuilder) -> &'a mut HttpResponseBuilder {
        for header in self.headers() {
            response.insert_header(header);
        }
        response
    }
}

/// A strong tag names one sequence of bytes: a coded answer is another variant than the plain one.
pub(super) fn tag_coding(headers: &mut HeaderMap, coding: &str) {
    let Some(plain) = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()?.strip_suffix('"')) else { return };
    let joint = if plain.contains(SUFFIX) { JOINT } else { SUFFIX };
    if let Ok(tag) = HeaderValue::from_str(&format!("{plain}{joint}{coding}\"")) {
        headers.insert(header::ETAG, tag);
    }
}

fn http_date(instant: Timestamp) -> String {
    let seconds = u64::try_from(instant.seconds()).unwrap_or_default();
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}

/// The conditions of a GET.
#[derive(Clone, Debug)]
pub struct ReadConditions {
    conditions: Conditions,
    /// The content coding that the answer's body would have.
    coding: Option<ContentEncoding>,
    lasting_coding: Option<ContentEncoding>,
}

/// The conditions of a PUT, PATCH or DELETE. To extract them fails with 428 where a write must have one.
#[derive(Clone, Debug)]
pub struct WriteConditions(Conditions);

#[derive(Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "the headers' names")]
struct Conditions {
    if_match: Option<TagList>,
    if_none_match: Option<TagList>,
    if_modified_since: Option<i64>,
    if_unmodified_since: Option<i64>,
}

impl ReadConditions {
    /// The content coding that the answer's body would have; `None` for none.
    pub(super) fn coding(&self) -> Option<ContentEncoding> {
        self.coding
    }

    /// Those of an answer that is kept in each coding.
    pub(super) fn with_lasting_coding(self) -> Self {
        Self { coding: self.lasting_coding, ..self }
    }

    /// Those of an answer that has no content coding, whatever the request prefers.
    pub(super) fn without_coding(self) -> Self {
        Self { coding: None, ..self }
    }

    /// The 304 for a client that has the current state, with the tag that it has (RFC 9110 §13.2.2); a 412 where
    /// `If-Match` asks for another.
    pub fn not_modified(&self, current: &Validators) -> Result<Option<HttpResponseBuilder>, Problem> {
        self.conditions.check_match(current)?;
        let coding = self.coding.map(ContentEncoding::as_str);
        let etag = match (&self.conditions.if_none_match, self.conditions.if_modified_since) {
            (Some(TagList::Any), _) => Some(current.etag(coding)),
            (Some(TagList::These(tags)), _) => {
                tags.iter().find(|tag| current.is_tagged_exactly(tag)).map(EntityTag::strong)
            }
            (None, Some(since)) if current.is_unmodified_since(since) => Some(current.etag(coding)),
            _ => None,
        };
        Ok(etag.map(|etag| {
            let mut response = HttpResponse::NotModified();
            current.set_on(&mut response).insert_header((header::ETAG, etag));
            response
        }))
    }
}

impl WriteConditions {
    /// Whether the write may go on from the current state. Call it inside the transaction that writes.
    pub fn check(&self, current: &Validators) -> Result<(), Problem> {
        self.0.check_match(current)?;
        let fails = match &self.0.if_none_match {
            Some(TagList::Any) => true,
            Some(TagList::These(tags)) => tags.iter().any(|tag| current.is_tagged(tag)),
            None => false,
        };
        if fails { Err(precondition_failed(current)) } else { Ok(()) }
    }
}

impl Conditions {
    fn check_match(&self, current: &Validators) -> Result<(), Problem> {
        let holds = match (&self.if_match, self.if_unmodified_since) {
            (Some(TagList::Any), _) | (None, None) => true,
            // The strong comparison: a weak tag never matches.
            (Some(TagList::These(tags)), _) => tags.iter().any(|tag| !tag.weak && current.is_tagged(tag)),
            (None, Some(since)) => current.updated_on.is_none() || current.is_unmodified_since(since),
        };
        if holds { Ok(()) } else { Err(precondition_failed(current)) }
    }

    fn read(request: &HttpRequest) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        let mut tags = |name: HeaderName, as_written: &str| {
            TagList::read(request, &name).unwrap_or_else(|()| {
                let detail = "This must be `*`, or entity tags in quotes, as in \"7.3\".";
                faults.push(Fault::at_header(as_written, "invalid", detail));
                None
            })
        };
        let conditions = Self {
            if_match: tags(header::IF_MATCH, "If-Match"),
            if_none_match: tags(header::IF_NONE_MATCH, "If-None-Match"),
            if_modified_since: date(request, &header::IF_MODIFIED_SINCE),
            if_unmodified_since: date(request, &header::IF_UNMODIFIED_SINCE),
        };
        if faults.is_empty() {
            return Ok(conditions);
        }
        Err(Problem::malformed_header(faults))
    }
}

impl FromRequest for ReadConditions {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let (coding, lasting_coding) = codings(request);
        ready(Conditions::read(request).map(|conditions| Self { conditions, coding, lasting_coding }))
    }
}

impl FromRequest for WriteConditions {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Conditions::read(request).and_then(|conditions| {
            let required = request.app_data::<Data<RequireIfMatch>>().is_some_and(|required| required.0);
            if required && conditions.if_match.is_none() {
                let detail = "This server takes changes only with `If-Match` and the `ETag` of what you read.";
                return Err(Problem::new(Code::PreconditionRequired, detail));
            }
            Ok(Self(conditions))
        }))
    }
}

impl IntoParams for ReadConditions {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            tags_parameter("If-None-Match", "The `ETag`s of what you have: if one is current, the answer is 304."),
            date_parameter("If-Modified-Since", "The `Last-Modified` of what you have; yields to `If-None-Match`."),
            tags_parameter("If-Match", "The `ETag`s of what you want: if none is current, the answer is 412."),
            date_parameter("If-Unmodified-Since", "If it changed since, the answer is 412; yields to `If-Match`."),
        ]
    }
}

impl IntoParams for WriteConditions {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            tags_parameter(
                "If-Match",
                "The `ETag` of what you build on: if it is no longer current, the answer is 412 and nothing is changed.",
            ),
            date_parameter(
                "If-Unmodified-Since",
                "The `Last-Modified` of what you build on, by the second; yields to `If-Match`.",
            ),
            tags_parameter(
                "If-None-Match",
                "If one of these is current, or with `*`, the answer is 412 and nothing is changed.",
            ),
        ]
    }
}

fn tags_parameter(name: &str, description: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(TAGS)).examples(["\"7.3\""]);
    parameter(ParameterIn::Header, name, description, schema)
}

fn date_parameter(name: &str, description: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).examples(["Sun, 22 Nov 2026 09:30:00 GMT"]);
    parameter(ParameterIn::Header, name, &format!("{description} What is no date is passed over."), schema)
}

fn precondition_failed(current: &Validators) -> Problem {
    let detail = "This changed since you read it. Read it again, and make your change to what it is now.";
    let problem = Problem::new(Code::PreconditionFailed, detail);
    match HeaderValue::from_str(&current.etag(None)) {
        Ok(etag) => problem.with_header(header::ETAG, etag),
        Err(_) => problem,
    }
}

/// A date that cannot be read, or is not the only one, is as good as none (RFC 9110 §13.1.3).
fn date(request: &HttpRequest, name: &HeaderName) -> Option<i64> {
    let mut lines = request.headers().get_all(name);
    let line = lines.next().filter(|_| lines.next().is_none())?;
    let date = httpdate::parse_http_date(line.to_str().ok()?).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since_epoch.as_secs()).ok()
}

/// The value of `If-Match` and `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TagList {
    Any,
    These(Vec<EntityTag>),
}

impl TagList {
    fn read(request: &HttpRequest, name: &HeaderName) -> Result<Option<Self>, ()> {
        let lines: Result<Vec<_>, _> = request.headers().get_all(name).map(HeaderValue::to_str).collect();
        let lines = lines.map_err(|_| ())?;
        if lines.is_empty() { Ok(None) } else { Self::parse(&lines.join(",")).map(Some).ok_or(()) }
    }

    /// RFC 9110 §13.1.1; empty elements are allowed (§5.6.1.2), an empty list is not.
    fn parse(text: &str) -> Option<Self> {
        if text.trim_matches([' ', '\t']) == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return if tags.is_empty() { None } else { Some(Self::These(tags)) };
            }
            let weak = rest.starts_with("W/");
            let (opaque, after) = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
            let allowed = |byte: u8| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80;
            let after = after.trim_start_matches([' ', '\t']);
            if !opaque.bytes().all(allowed) || !(after.is_empty() || after.starts_with(',')) {
                return None;
            }
            tags.push(EntityTag { weak, opaque: opaque.to_owned() });
            rest = after;
        }
    }
}

/// An entity tag (RFC 9110 §8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
struct EntityTag {
    weak: bool,
    opaque: String,
}

impl EntityTag {
    /// What is before the suffix, and the variant in it.
    fn parts(&self) -> (&str, &str) {
        self.opaque.split_once(SUFFIX).unwrap_or((&self.opaque, ""))
    }

    fn strong(&self) -> String {
        format!("\"{}\"", self.opaque)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(tags: &[(bool, &str)]) -> TagList {
        TagList::These(tags.iter().map(|&(weak, opaque)| EntityTag { weak, opaque: opaque.to_owned() }).collect())
    }

    #[test]
    fn entity_tags_are_read_as_the_standard_writes_them() {
        assert_eq!(TagList::parse("*"), Some(TagList::Any));
        assert_eq!(TagList::parse("\"7.3\""), Some(these(&[(false, "7.3")])));
        assert_eq!(
            TagList::parse("W/\"7.3\" , \"a,b\",, \"\""),
            Some(these(&[(true, "7.3"), (false, "a,b"), (false, "")]))
        );
        for malformed in
            ["", ",", "7.3", "\"7.3", "7.3\"", "*, \"7.3\"", "\"a\" \"b\"", "w/\"a\"", "\"a b\"", "W/ \"a\""]
        {
            assert_eq!(TagList::parse(malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn the_documents_pattern_is_of_what_is_read() {
        let pattern = serde_json::json!({"pattern": TAGS});
        for (text, fits) in [
            ("*", true),
            ("\"7.3\"", true),
            ("W/\"7.3\" , \"a,b\",\"\"", true),
            (",\t\"a\",, \"b\",", true),
            (",", false),
            ("", false),
            ("7.3", false),
            ("\"7.3", false),
            ("*, \"7.3\"", false),
            ("\"a\" \"b\"", false),
            ("w/\"a\"", false),
            ("\"a b\"", false),
            ("\"ä\"", false),
        ] {
            assert_eq!(jsonschema::is_valid(&pattern, &text.into()), fits, "{text:?}");
            assert_eq!(TagList::parse(text).is_some() && text.is_ascii(), fits, "{text:?}");
        }
    }
}
