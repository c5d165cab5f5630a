//! The metrics of requests: how many were answered, and how long that took, by route, method and status.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

/// The two series that a request counts in.
struct Series {
    requests: Counter,
    durations: Histogram,
}

/// Those of a route, by method and status.
type OfRoute = HashMap<(&'static str, u16), Series>;

thread_local! {
    // To look a series up by its labels takes longer than to count in it. Each worker looks up each of its few once.
    static KNOWN: RefCell<HashMap<String, OfRoute>> = RefCell::default();
}

/// Counts a request that was answered. The route is one of the map's patterns, never what a caller sent.
pub(super) fn count(route: &str, method: &Method, status: StatusCode, duration: Duration) {
    let method = label(method);
    let key = (method, status.as_u16());
    KNOWN.with_borrow_mut(|known| {
        let series = match known.get(route).and_then(|of_route| of_route.get(&key)) {
            Some(series) => series,
            None => known.entry(route.to_owned()).or_default().entry(key).or_insert_with(|| Series {
                requests: counter!("posts_http_requests_total", "route" => route.to_owned(), "method" => method, "status" => status.as_u16().to_string()),
                durations: histogram!("posts_http_request_duration_seconds", "route" => route.to_owned(), "method" => method),
            }),
        };
        series.requests.increment(1);
        series.durations.record(duration);
    });
}

/// The method, one of few: a metric's labels must not be the caller's to invent.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
