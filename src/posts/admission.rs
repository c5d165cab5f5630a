//! Whether there is room for a request, before who sends it is looked up and what it says is read.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;

use super::creates::Creates;
use super::reads::Reads;
use crate::http::prefer::Prefer;
use crate::http::problem::Problem;

/// Refuses a post or a search that there is no room for at this moment.
#[must_use]
pub fn admit(request: HttpRequest) -> LocalBoxFuture<'static, Result<(), Problem>> {
    Box::pin(async move {
        match *request.method() {
            Method::POST => request.app_data::<Data<Creates>>().map_or(Ok(()), |creates| creates.admit()),
            Method::GET | Method::HEAD if is_search(&request) => {
                request.app_data::<Data<Reads>>().map_or(Ok(()), |reads| reads.admit_search())
            }
            _ => Ok(()),
        }
    })
}

/// Whether this looks like one. Where a name is encoded it does not; that is then refused in the lane.
fn is_search(request: &HttpRequest) -> bool {
    request.query_string().split('&').any(|parameter| parameter.starts_with("q=")) || Prefer::of(request).count
}
