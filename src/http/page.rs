//! Lists, a page at a time: how much was asked for and where it begins, and the answer with its links.
//!
//! A page goes on after an item, not after a number of them (keyset paging): what is inserted or deleted meanwhile
//! shifts nothing, and a late page costs what the first one does.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Type};

use super::conditional::{ReadConditions, Validators};
use super::cursor::CursorKeys;
use super::middleware::add_vary;
use super::prefer::Prefer;
use super::problem::Problem;
use super::query::{Parameters, query_parameter, text_schema};

/// The most items on one page.
pub const LIMIT_MAX: u32 = 100;
/// How many items a page has when the request does not say.
pub const LIMIT_DEFAULT: u32 = 20;

/// How much of a list was asked for, and from where.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// The most items to send, from 1 to [`LIMIT_MAX`].
    pub limit: u32,
    cursor: Option<String>,
}

impl PageRequest {
    /// Takes the parameters that every list has.
    pub fn read(parameters: &mut Parameters) -> Self {
        let limit = parameters.integer("limit", 1, LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
        Self { limit, cursor: parameters.text("cursor") }
    }

    /// How many items to read: one more than are sent tells whether there is a further page.
    #[must_use]
    pub fn look_ahead(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The position after which the page begins; `None` for the first page. Fails on a cursor that is not this list's:
    /// see [`CursorKeys`].
    pub fn position<P: DeserializeOwned>(&self, keys: &CursorKeys, list: &str) -> Result<Option<P>, Problem> {
        self.cursor.as_deref().map(|cursor| keys.open(list, cursor)).transpose()
    }

    /// Takes what was read ahead off a page. Where there is more, returns the item that the next page begins after.
    pub fn cut<'a, T>(&self, items: &'a mut Vec<T>) -> Option<&'a T> {
        let limit = self.limit as usize;
        let has_more = items.len() > limit;
        items.truncate(limit);
        items.last().filter(|_| has_more)
    }
}

impl IntoParams for PageRequest {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let limit = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1_u32))
            .maximum(Some(LIMIT_MAX))
            .default(Some(LIMIT_DEFAULT.into()));
        vec![
            query_parameter("limit", "The most items to send.", limit),
            query_parameter(
                "cursor",
                "Where the page begins: the `next_cursor` of the page before, with the same sort and filters.",
                text_schema(),
            ),
        ]
    }
}

/// The answer with a page: its `ETag` is over its bytes, and `Link` leads to the first page and the next.
pub fn answer(
    request: &HttpRequest,
    conditions: &ReadConditions,
    prefer: Prefer,
    page: &impl Serialize,
    next_cursor: Option<&str>,
) -> Result<HttpResponse, Problem> {
    let body = serde_json::to_vec(page).map_err(|error| Problem::internal(&error))?;
    let validators = Validators::of_bytes(&body);
    let mut response = match conditions.not_modified(&validators)? {
        Some(mut not_modified) => not_modified.finish(),
        None => validators.set_on(&mut HttpResponse::Ok()).content_type(mime::APPLICATION_JSON).body(body),
    };
    let headers = response.headers_mut();
    if let Ok(links) = HeaderValue::from_str(&links(request, next_cursor)) {
        headers.insert(header::LINK, links);
    }
    prefer.acknowledge(headers);
    add_vary(headers, "Prefer");
    Ok(response)
}

/// `Link` (RFC 8288), with the request's own parameters but for the cursor.
fn links(request: &HttpRequest, next_cursor: Option<&str>) -> String {
    let link = |relation: &str, cursor: Option<&str>| {
        let pairs = form_urlencoded::parse(request.query_string().as_bytes()).filter(|(name, _)| name != "cursor");
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs).extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
        let query = query.finish();
        let separator = if query.is_empty() { "" } else { "?" };
        format!("<{}{separator}{query}>; rel=\"{relation}\"", request.path())
    };
    let links = [Some(link("first", None)), next_cursor.map(|cursor| link("next", Some(cursor)))];
    links.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
