//! A path and its operations, with what HTTP gives to every path: HEAD where there is GET, OPTIONS, and 405 with
//! the exact `Allow` for everything else.

use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{AppService, HttpServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::error::Error;
use actix_web::http::Method;
use actix_web::http::header::{self, Accept, HeaderValue, Quality};
use actix_web::middleware::{Next, from_fn};
use actix_web::{
    FromRequest, Handler, HttpMessage as _, HttpRequest, HttpResponse, Resource, Responder, ResponseError as _, guard,
    web,
};
use futures_util::future::LocalBoxFuture;

use super::json::StrangersBody;
use super::middleware::{add_vary, contain_panics};
use super::patch;
use super::problem::{Code, Problem};
use super::unread::discard;

const JSON: &str = "application/json";

/// What the longest passwords, e-mails and tokens take together, however they are escaped, several times.
const STRANGERS_BODY_MAX: usize = 64 << 10;

/// Looks at a request before its handler and extractors do, and may refuse it.
pub type Gate = fn(HttpRequest) -> LocalBoxFuture<'static, Result<(), Problem>>;

/// One path of the URL map.
#[must_use]
pub struct Endpoint {
    resource: Resource,
    methods: Vec<Method>,
    media_type: Option<&'static str>,
    gates: Vec<Gate>,
    is_for_callers: bool,
}

impl Endpoint {
    /// A path whose operations answer JSON, and refuse a request that does not accept it.
    pub fn api(path: &str) -> Self {
        Self::answering(path, JSON)
    }

    /// The same for another media type.
    pub fn answering(path: &str, media_type: &'static str) -> Self {
        Self { media_type: Some(media_type), ..Self::page(path) }
    }

    /// A path for whoever comes: a page, a script, a text.
    pub fn page(path: &str) -> Self {
        let resource = web::resource(path);
        Self { resource, methods: Vec::new(), media_type: None, gates: Vec::new(), is_for_callers: false }
    }

    /// Sends every request through a gate first, after those that it was put behind before.
    pub fn behind(mut self, gate: Gate) -> Self {
        self.gates.push(gate);
        self
    }

    /// The same with a gate that finds out who is calling: what comes back depends on the credentials, also where there
    /// were none.
    pub fn for_callers(self, gate: Gate) -> Self {
        Self { is_for_callers: true, ..self.behind(gate) }
    }

    /// Reads no more of a body than a stranger needs to send.
    pub fn for_strangers(self) -> Self {
        Self { resource: self.resource.app_data(StrangersBody(STRANGERS_BODY_MAX)), ..self }
    }

    /// Answers a method. GET answers HEAD, too.
    pub fn on<F, Args>(mut self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let route = if method == Method::GET {
            self.methods.extend([Method::GET, Method::HEAD]);
            web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
        } else {
            self.methods.push(method.clone());
            web::method(method)
        };
        self.resource = self.resource.route(route.to(handler));
        self
    }
}

impl HttpServiceFactory for Endpoint {
    fn register(mut self, config: &mut AppService) {
        let patches = self.methods.contains(&Method::PATCH);
        self.methods.push(Method::OPTIONS);
        let allow = self.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let others = move |request: HttpRequest| {
            let answer = other_methods(&request, &allow, patches);
            async { answer }
        };
        let (gates, is_for_callers): (Rc<[Gate]>, _) = (self.gates.into(), self.is_for_callers);
        let media_type = self.media_type;
        self.resource
            .default_service(web::to(others))
            .wrap(from_fn(move |request, next| pass(Rc::clone(&gates), is_for_callers, request, next)))
            .wrap(from_fn(move |request, next| require_acceptance(media_type, request, next)))
            .wrap(from_fn(contain_panics))
            .register(config);
    }
}

/// Lets through what the gates let through.
async fn pass(
    gates: Rc<[Gate]>,
    is_for_callers: bool,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, Error> {
    if gates.is_empty() {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let mut passed = Ok(());
    for gate in &*gates {
        passed = gate(request.request().clone()).await;
        if passed.is_err() {
            break;
        }
    }
    let mut response = match passed {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(problem) => {
            discard(&mut request).await;
            request.into_response(problem.error_response())
        }
    };
    if is_for_callers {
        add_vary(response.headers_mut(), "Authorization");
    }
    Ok(response)
}

/// OPTIONS (RFC 9110 §9.3.7), and the refusal of what is not served here (§15.5.6).
fn other_methods(request: &HttpRequest, allow: &str, patches: bool) -> Result<HttpResponse, Problem> {
    let allow = HeaderValue::from_str(allow).unwrap_or(HeaderValue::from_static(""));
    if *request.method() != Method::OPTIONS {
        let detail = "This address does not take that method; `Allow` lists those that it takes.";
        return Err(Problem::new(Code::MethodNotAllowed, detail).with_header(header::ALLOW, allow));
    }
    let mut response = HttpResponse::NoContent();
    response.insert_header((header::ALLOW, allow));
    if patches {
        response.insert_header(patch::accept_patch());
    }
    Ok(response.finish())
}

/// Refuses before anything is done: a write whose answer cannot be sent should not happen.
async fn require_acceptance(
    media_type: Option<&str>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, Error> {
    let Some(media_type) = media_type.filter(|media_type| refuses(request.request(), media_type)) else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let detail = format!("This answers {media_type} (and application/problem+json), which `Accept` refuses.");
    let response = Problem::new(Code::NotAcceptable, detail).error_response();
    Ok(request.into_response(response))
}

/// A header that cannot be read asks for nothing in particular.
fn refuses(request: &HttpRequest, media_type: &str) -> bool {
    quality(request, media_type) == Some(Quality::ZERO)
}

/// How much a request likes a media type: by the most specific range that covers it (RFC 9110 §12.5.1). `None` where
/// it says nothing of what it accepts.
#[must_use]
pub fn quality(request: &HttpRequest, media_type: &str) -> Option<Quality> {
    let Accept(ranges) = request.get_header::<Accept>().filter(|accept| !accept.is_empty())?;
    let kind = media_type.split('/').next();
    let specificity = |range: &mime::Mime| match (range.type_(), range.subtype()) {
        (mime::STAR, mime::STAR) => Some(0),
        (of, mime::STAR) if kind == Some(of.as_str()) => Some(1),
        _ if range.essence_str() == media_type => Some(2),
        _ => None,
    };
    let covering = ranges.iter().filter_map(|range| Some((specificity(&range.item)?, range.quality)));
    Some(covering.max_by_key(|(specificity, _)| *specificity).map_or(Quality::ZERO, |(_, quality)| quality))
}
