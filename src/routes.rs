//! The URL map: every path and method that the service answers. Nothing is registered elsewhere.

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};

use crate::http::endpoint::Endpoint;
use crate::http::problem::Problem;
use crate::{meta, posts};

/// Registers the map.
pub fn configure(app: &mut ServiceConfig) {
    app.service(Endpoint::api("/posts").on(Method::GET, posts::list_posts).on(Method::POST, posts::create_post))
        .service(
            Endpoint::api("/posts/{id}")
                .on(Method::GET, posts::get_post)
                .on(Method::PUT, posts::replace_post)
                .on(Method::PATCH, posts::update_post)
                .on(Method::DELETE, posts::delete_post),
        )
        .service(Endpoint::page("/").on(Method::GET, meta::index))
        .service(Endpoint::page("/admin").on(Method::GET, meta::admin))
        .service(Endpoint::page("/docs").on(Method::GET, meta::console))
        .service(Endpoint::page("/docs/{file}").on(Method::GET, meta::console_file))
        .service(Endpoint::api("/openapi.json").on(Method::GET, meta::openapi))
        .service(Endpoint::page("/problems/{code}").on(Method::GET, meta::problem))
        .service(Endpoint::api("/health/live").on(Method::GET, meta::live))
        .service(Endpoint::api("/health/ready").on(Method::GET, meta::ready))
        .service(Endpoint::page("/metrics").on(Method::GET, meta::metrics))
        .default_service(web::to(|| async { Err::<web::Bytes, _>(Problem::not_found()) }));
}
