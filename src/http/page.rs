//! Lists, a page at a time: how much was asked for and where it begins, and the answer with its links.
//!
//! A page goes on after an item, not after a number of them (keyset paging): what is inserted or deleted meanwhile
//! shifts nothing, and a late page costs what the first one does.

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
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
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
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

/// A page as it is sent, to however many ask for it. Its `ETag` is over its bytes.
#[derive(Debug)]
pub struct RenderedPage {
    body: Bytes,
    validators: Validators,
    next_cursor: Option<String>,
}

impl RenderedPage {
    /// Renders a page.
    pub fn of(page: &impl Serialize, next_cursor: Option<String>) -> Result<Self, Problem> {
        let body = Bytes::from(serde_json::to_vec(page).map_err(|error| Problem::internal(&error))?);
        Ok(Self { validators: Validators::of_bytes(&body), body, next_cursor })
    }

    /// The answer to a request for it: `Link` leads to the first page and the next.
    pub fn answer(
        &self,
        request: &HttpRequest,
        conditions: &ReadConditions,
        prefer: Prefer,
    ) -> Result<HttpResponse, Problem> {
        let mut response = if let Some(mut not_modified) = conditions.not_modified(&self.validators)? {
            not_modified.finish()
        } else {
            let mut response = HttpResponse::Ok();
            self.validators.set_on(&mut response).content_type(mime::APPLICATION_JSON).body(self.body.clone())
        };
        let headers = response.headers_mut();
        if let Ok(links) = HeaderValue::from_str(&links(request, self.next_cursor.as_deref())) {
            headers.insert(header::LINK, links);
        }
        prefer.acknowledge(headers);
        add_vary(headers, "Prefer");
        Ok(response)
    }
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
