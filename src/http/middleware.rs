//! What happens around every request: [`observe`] outside of everything, [`contain_panics`] right around the handlers,
//! and between them what the server puts there.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::Error;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _};
use futures_util::FutureExt as _;

use super::client;
use super::conditional::tag_coding;
use super::connection::Connection;
use super::pieces::in_pieces;
use super::problem::{self, Code, Fault, Problem};
use super::series;
use super::unread::HeldBody;

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most bytes that the names and values of a request's header fields may have together.
pub const HEADER_SIZE_MAX: usize = 32 << 10;

/// Whether the server is on its way out: connections are then closed after their answer.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// Says that the end has begun. There is no way back.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end has begun.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request's id: the caller's where it is one that a log can hold, else a new one.
#[derive(Clone, Debug)]
pub struct RequestId(String);

impl RequestId {
    /// The id of a request that [`observe`] has seen; empty for any other.
    #[must_use]
    pub fn of(request: &HttpRequest) -> String {
        request.extensions().get::<Self>().map(|Self(id)| id.clone()).unwrap_or_default()
    }

    fn read(headers: &HeaderMap) -> Self {
        let fits = |id: &&str| {
            (1..=128).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let mut lines = headers.get_all(&REQUEST_ID);
        let only = lines.next().filter(|_| lines.next().is_none());
        let sent = only.and_then(|id| id.to_str().ok()).filter(fits);
        Self(sent.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned))
    }
}

/// The outermost layer: gives the request its id, makes a problem of every failure that has no body yet, sets the
/// headers that every answer has, writes the log's line and counts.
pub async fn observe(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let RequestId(request_id) = RequestId::read(request.headers());
    request.extensions_mut().insert(RequestId(request_id.clone()));
    let client = client::address(request.request()).map(tracing::field::display);
    let method = request.method().clone();
    let draining = request.app_data::<Data<Draining>>().is_some_and(|draining| draining.is_on());

    let connection = Connection::of(request.request());
    if let Some(connection) = &connection {
        connection.begin();
    }

    let held = HeldBody::hold(&mut request);
    let answered = next.call(request).await?.map_into_boxed_body();
    if let Some(connection) = &connection {
        connection.end();
    }
    let mut response = render(answered, &request_id);
    let cause = response.response_mut().extensions_mut().remove::<Cause>();
    complete_headers(response.response_mut(), &request_id, draining);

    let route = response.request().match_pattern().unwrap_or_else(|| "(none)".to_owned());
    let status = response.status();
    let duration = started.elapsed();
    series::count(&route, &method, status, duration);
    let (status, is_fault) = (status.as_u16(), status.is_server_error());
    let duration_ms = (duration.as_secs_f64() * 1e6).round() / 1e3;
    if is_fault {
        let cause = cause.map(|Cause(cause)| cause);
        tracing::error!(id = request_id, client, %method, route, status, duration_ms, cause, "request");
    } else {
        tracing::info!(id = request_id, client, %method, route, status, duration_ms, "request");
    }
    let response = in_pieces(response);
    Ok(match held {
        Some(held) => held.until_sent(response),
        None => response,
    })
}

/// Refuses a head whose fields are too large, and one that others may understand in another way than this server does.
pub async fn check_head(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let connection = Connection::of(request.request());
    let is_last = request.head().connection_type() == ConnectionType::Close;
    let comes_late = connection.as_ref().is_some_and(|connection| connection.is_over_after(is_last));
    let (problem, is_doubtful) = match check_size(request.headers()).and_then(|()| check_host(request.headers())) {
        Err(problem) => (problem, false),
        Ok(()) if comes_late => (too_late(), true),
        Ok(()) if has_no_end(request.headers()) => (without_end(), true),
        Ok(()) => return Ok(next.call(request).await?.map_into_boxed_body()),
    };
    let mut response = problem.error_response();
    if is_doubtful {
        // Where this request ends nobody can tell, so that what follows on it is none.
        response.head_mut().set_connection_type(ConnectionType::Close);
        if let Some(connection) = connection {
            connection.is_over_after(true);
        }
    }
    Ok(request.into_response(response))
}

fn check_size(headers: &HeaderMap) -> Result<(), Problem> {
    if header_size(headers) <= HEADER_SIZE_MAX {
        return Ok(());
    }
    let detail = format!("The header fields must not be larger than {HEADER_SIZE_MAX} bytes together.");
    Err(Problem::new(Code::HeaderFieldsTooLarge, detail))
}

/// A `Host` is a name or an address, and maybe a port (RFC 9112 §3.2). That there is one, the framework has looked.
fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    if headers.get(header::HOST).is_none_or(|host| host.as_bytes().iter().all(fits)) {
        return Ok(());
    }
    let detail = "This is no host: write a name or an address, and maybe a port, as blog.example:8080.";
    Err(Problem::malformed_header(vec![Fault::at_header("Host", "invalid", detail)]))
}

/// Whether the framework takes all that follows for this request's body, whatever its length says. Others go by its
/// length, since to change the protocol is an offer that a server may decline (RFC 9110 §7.8).
fn has_no_end(headers: &HeaderMap) -> bool {
    let asks_for_websocket =
        |value: &HeaderValue| value.to_str().is_ok_and(|value| value.trim().eq_ignore_ascii_case("websocket"));
    headers.contains_key(header::CONTENT_LENGTH) && headers.get_all(header::UPGRADE).any(asks_for_websocket)
}

fn without_end() -> Problem {
    let detail = "There are no web sockets here. Send the body without `Upgrade`.";
    Problem::malformed_header(vec![Fault::at_header("Upgrade", "invalid", detail)])
}

fn too_late() -> Problem {
    let detail = "This came after the last request of its connection, and was not carried out. Open another.";
    Problem::malformed_header(vec![Fault::at_header("Connection", "ended", detail)])
}

/// Says of every answer that it depends on `Origin`, also where CORS had nothing to add.
pub async fn vary_by_origin(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut response = next.call(request).await?.map_into_boxed_body();
    add_vary(response.headers_mut(), "Origin");
    Ok(response)
}

/// The innermost layer, around each endpoint: a handler that panics fails its own request with a 500, and no other.
pub async fn contain_panics(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let http_request = request.request().clone();
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(answered) => Ok(answered?.map_into_boxed_body()),
        // The panic's hook has logged it.
        Err(_panic) => {
            let response = Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR).error_response();
            Ok(ServiceResponse::new(http_request, response))
        }
    }
}

/// What the log should say of a rendered problem.
struct Cause(String);

/// Gives a failure its body, where it has none of ours yet.
fn render(response: ServiceResponse<BoxBody>, request_id: &str) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let is_failure = status.is_client_error() || status.is_server_error();
    let is_rendered = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes() == problem::MEDIA_TYPE.as_bytes());
    if !is_failure || is_rendered {
        return response;
    }
    let (request, mut response) = response.into_parts();
    let problem = response.extensions_mut().remove::<Problem>().unwrap_or_else(|| Problem::of_status(status));
    let body = serde_json::to_vec(&problem.body(request.uri().path(), request_id)).unwrap_or_default();

    let mut rendered = HttpResponse::build(problem.status_code());
    // What a layer below had to say (CORS), less what belonged to the body that is replaced.
    for (name, value) in response.headers() {
        if *name != header::CONTENT_ENCODING && *name != header::CONTENT_LENGTH {
            rendered.append_header((name, value));
        }
    }
    for (name, value) in problem.headers() {
        rendered.insert_header((name, value));
    }
    rendered.insert_header((header::CONTENT_TYPE, problem::MEDIA_TYPE));
    if response.head().connection_type() == ConnectionType::Close {
        rendered.force_close();
    }
    let mut rendered = rendered.body(body);
    if let Some(cause) = problem.cause() {
        rendered.extensions_mut().insert(Cause(cause.to_owned()));
    }
    ServiceResponse::new(request, rendered)
}

/// The headers of every answer, and what only shows once the answer is coded.
fn complete_headers(response: &mut HttpResponse, request_id: &str, draining: bool) {
    let is_failure = response.status().is_client_error() || response.status().is_server_error();
    let coding =
        response.headers().get(header::CONTENT_ENCODING).and_then(|coding| coding.to_str().ok()).map(str::to_owned);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    set_default(headers, header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    if is_failure {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    set_default(headers, header::CACHE_CONTROL, "no-store");
    add_vary(headers, "Accept-Encoding");
    if let Some(coding) = coding {
        tag_coding(headers, &coding);
    }
    if draining {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
}

fn set_default(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    if !headers.contains_key(&name) {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// One `Vary` with each name once, however many layers had a say.
pub(super) fn add_vary(headers: &mut HeaderMap, name: &'static str) {
    let mut said = headers.get_all(header::VARY).filter_map(|value| value.to_str().ok());
    let Some(first) = said.next() else {
        headers.insert(header::VARY, HeaderValue::from_static(name));
        return;
    };
    let mut names = String::from(first);
    for next in said.flat_map(|value| value.split(',')).chain([name]).map(str::trim) {
        if !names.split(',').any(|known| known.trim().eq_ignore_ascii_case(next)) {
            names.push_str(", ");
            names.push_str(next);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&names) {
        headers.insert(header::VARY, value);
    }
}

fn header_size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}
