//! Holds to the OpenAPI document what goes over the wire: every answer, and every request that was not refused.
//!
//! That the document served is the committed one, `openapi` tests.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use url::form_urlencoded;

/// The answers and requests that were held to the document so far.
pub static ANSWERS: AtomicUsize = AtomicUsize::new(0);
pub static REQUESTS: AtomicUsize = AtomicUsize::new(0);

/// Served and not in the document: the document itself, and pages for people.
const PAGES: [&str; 6] = ["/admin", "/admin/{file}", "/docs", "/docs/{file}", "/openapi.json", "/problems/{code}"];

/// Headers that any answer may have, and that clients read without being told. Others must be in the document.
const GENERAL_HEADERS: [&str; 11] = [
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "referrer-policy",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
];

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| Document {
    root: serde_json::from_str(include_str!("../../../openapi/openapi.json")).unwrap(),
    validators: Mutex::default(),
});

struct Document {
    root: Value,
    /// By the text of their schemas.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// What went over the wire, one way.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// What the document has at a method and a path.
enum Place<'a> {
    Operation(&'a Value),
    /// There is the path, without this method.
    OtherMethods,
    /// Nothing, or a page.
    Outside,
}

/// Whether an answer is one that the document promises: its status, its headers, its media type, its body.
pub fn check_answer(method: &str, path: &str, status: u16, answer: Message) -> Result<(), String> {
    let document = &*DOCUMENT;
    match document.place(method, path) {
        Place::Operation(operation) => {
            let response = &operation["responses"][status.to_string()];
            if response.is_null() {
                return Err(format!("{status} is no status of this operation"));
            }
            document.check_response(document.resolve(response), method == "HEAD", answer)?;
        }
        Place::OtherMethods if method == "OPTIONS" && status < 400 => {}
        Place::Outside if is_page(path) && status < 400 => {}
        Place::OtherMethods | Place::Outside if status < 400 => {
            return Err("this was not refused, and is not in the document".to_owned());
        }
        Place::OtherMethods | Place::Outside => {
            if method != "HEAD" {
                document.check_value(&json!({"$ref": "#/components/schemas/Problem"}), &json_of(answer)?)?;
            }
        }
    }
    ANSWERS.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Whether a request that was not refused is one that the document allows: its credentials, its parameters, its body.
pub fn check_request(method: &str, path: &str, query: &str, request: Message) -> Result<(), String> {
    let document = &*DOCUMENT;
    let Place::Operation(operation) = document.place(method, path) else { return Ok(()) };
    let ways = operation["security"].as_array().expect("every operation says who may call it");
    if !ways.is_empty() && !ways.iter().any(|way| document.is_sent(way, request.headers)) {
        return Err("this is said to need a credential, and was not refused without".to_owned());
    }
    let parameters: Vec<_> = operation["parameters"].as_array().into_iter().flatten().collect();
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
    let known: Vec<_> = in_query.filter_map(|parameter| parameter["name"].as_str()).collect();
    // An operation that has no parameters in the query does not look at it.
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !known.is_empty() && !known.contains(&&**name)) {
        return Err(format!("the query parameter `{name}` is not in the document"));
    }
    for parameter in parameters {
        let name = parameter["name"].as_str().unwrap();
        let value = match parameter["in"].as_str().unwrap() {
            "query" => pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone().into_owned()),
            "header" => header(request.headers, name),
            _ => path.rsplit('/').next().map(percent_decoded),
        };
        match value {
            Some(value) => document
                .check_text(&parameter["schema"], &value)
                .map_err(|error| format!("the parameter `{name}`, {value:?}: {error}"))?,
            None if parameter["required"] == true => {
                return Err(format!("the parameter `{name}` is said to be needed"));
            }
            None => {}
        }
    }
    if let Some(body) = operation.get("requestBody") {
        let schema = &body["content"][media_type(request.headers)]["schema"];
        if schema.is_null() {
            return Err("a body of this media type is not in the document".to_owned());
        }
        document.check_value(schema, &json_of(request)?).map_err(|error| format!("the request's body: {error}"))?;
    }
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

impl Document {
    fn place(&self, method: &str, path: &str) -> Place<'_> {
        let paths = self.root["paths"].as_object().unwrap();
        let fitting = paths.iter().filter(|(template, _)| fits(template, path));
        // One without a variable is the nearer fit.
        let Some((_, item)) = fitting.min_by_key(|(template, _)| template.contains('{')) else { return Place::Outside };
        let method = match method {
            "HEAD" | "GET" => "get",
            "POST" => "post",
            "PUT" => "put",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => return Place::OtherMethods,
        };
        item.get(method).map_or(Place::OtherMethods, Place::Operation)
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                self.root.pointer(reference.trim_start_matches('#')).expect("a reference that leads somewhere")
            }
            None => value,
        }
    }

    /// Whether a request has all the credentials of one way to say who is calling.
    fn is_sent(&self, way: &Value, headers: &HeaderMap) -> bool {
        way.as_object().unwrap().keys().all(|name| {
            let scheme = &self.root["components"]["securitySchemes"][name];
            match scheme["in"].as_str() {
                Some("cookie") => header(headers, "cookie")
                    .is_some_and(|cookies| cookies.contains(&format!("{}=", scheme["name"].as_str().unwrap()))),
                _ => headers.contains_key("authorization"),
            }
        })
    }

    fn check_response(&self, response: &Value, is_head: bool, answer: Message) -> Result<(), String> {
        let documented = response["headers"].as_object();
        for (name, described) in documented.into_iter().flatten() {
            match header(answer.headers, name) {
                Some(value) => self
                    .check_text(&described["schema"], &value)
                    .map_err(|error| format!("the header `{name}`, {value:?}: {error}"))?,
                None if described["required"] == true => return Err(format!("the header `{name}` is missing")),
                None => {}
            }
        }
        for name in answer.headers.keys().map(reqwest::header::HeaderName::as_str) {
            let is_documented =
                documented.is_some_and(|documented| documented.keys().any(|known| known.eq_ignore_ascii_case(name)));
            if !is_documented && !GENERAL_HEADERS.contains(&name) && !name.starts_with("access-control-") {
                return Err(format!("the header `{name}` is not in the document"));
            }
        }
        let Some(content) = response["content"].as_object() else {
            return if answer.body.is_empty() { Ok(()) } else { Err("there should be no body".to_owned()) };
        };
        let kind = media_type(answer.headers);
        let described = content.get(&kind).ok_or_else(|| format!("the media type `{kind}` is not in the document"))?;
        match is_head {
            true if answer.body.is_empty() => Ok(()),
            true => Err("HEAD has no body".to_owned()),
            false if kind.ends_with("json") => self.check_value(&described["schema"], &json_of(answer)?),
            false => Ok(()),
        }
    }

    /// Whether a value fits, that is written as text: a parameter's, a header's.
    fn check_text(&self, schema: &Value, text: &str) -> Result<(), String> {
        let typed = match self.resolve(schema)["type"].as_str() {
            Some("integer" | "number" | "boolean") => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
            _ => Value::from(text),
        };
        self.check_value(schema, &typed)
    }

    fn check_value(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let validator = {
            let mut validators = self.validators.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let new = || {
                let mut schema = schema.clone();
                schema["components"] = self.root["components"].clone();
                Arc::new(jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema"))
            };
            Arc::clone(validators.entry(schema.to_string()).or_insert_with(new))
        };
        let faults: Vec<_> =
            validator.iter_errors(value).map(|error| format!("{} at `{}`", error, error.instance_path())).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }
}

/// Whether a path is one of those that a template stands for.
fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    let fits = |(pattern, segment): (&str, &str)| {
        !(pattern.starts_with('{') && segment.is_empty())
            && (pattern.starts_with('{') || pattern == percent_decoded(segment))
    };
    template.clone().count() == path.clone().count() && template.zip(path).all(fits)
}

fn is_page(path: &str) -> bool {
    PAGES.iter().any(|page| fits(page, path))
}

pub fn percent_decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// A header's value; of several lines, all (RFC 9110 §5.3).
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<_> =
        headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned()).collect();
    if lines.is_empty() { None } else { Some(lines.join(", ")) }
}

fn media_type(headers: &HeaderMap) -> String {
    let kind = header(headers, "content-type").unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_lowercase()
}

fn json_of(message: Message) -> Result<Value, String> {
    let coding = header(message.headers, "content-encoding");
    let body = decoded(coding.as_deref().unwrap_or_default(), message.body).map_err(|error| error.to_string())?;
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

/// A body without its content coding.
pub fn decoded(coding: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut decoded)?,
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut decoded)?,
        "zstd" => zstd::Decoder::new(body)?.read_to_end(&mut decoded)?,
        "deflate" => flate2::read::ZlibDecoder::new(body).read_to_end(&mut decoded)?,
        "" => return Ok(body.to_vec()),
        other => return Err(std::io::Error::other(format!("a coding that nobody asked for: {other}"))),
    };
    Ok(decoded)
}
