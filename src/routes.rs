//! The URL map: every path and method that the service answers. Nothing is registered elsewhere.

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};

use crate::http::endpoint::Endpoint;
use crate::http::problem::Problem;
use crate::{api_keys, auth, meta, posts, users};

/// Registers the map.
pub fn configure(app: &mut ServiceConfig) {
    // Those that depend on who is calling.
    let api = |path| Endpoint::api(path).for_callers(auth::authenticate);
    // Those that bring their own proof: a token that has expired is no reason to refuse to replace it.
    let stranger = |path| Endpoint::api(path).for_strangers();
    // Whether there is room comes before who is calling: under a flood, to look that up is most of the work.
    let posts = Endpoint::api("/posts").behind(posts::admit).for_callers(auth::authenticate);
    app.service(posts.on(Method::GET, posts::list_posts).on(Method::POST, posts::create_post))
        .service(
            api("/posts/{id}")
                .on(Method::GET, posts::get_post)
                .on(Method::PUT, posts::replace_post)
                .on(Method::PATCH, posts::update_post)
                .on(Method::DELETE, posts::delete_post),
        )
        .service(api("/users").on(Method::GET, users::list_users).on(Method::POST, users::create_user))
        .service(
            api("/users/{id}")
                .on(Method::GET, users::get_user)
                .on(Method::PATCH, users::update_user)
                .on(Method::DELETE, users::delete_user),
        )
        .service(api("/api-keys").on(Method::GET, api_keys::list_api_keys).on(Method::POST, api_keys::create_api_key))
        .service(api("/api-keys/{id}").on(Method::DELETE, api_keys::delete_api_key))
        .service(api("/auth/me").on(Method::GET, auth::me))
        .service(api("/auth/password").on(Method::PUT, auth::change_password))
        .service(stranger("/auth/login").behind(auth::admit).on(Method::POST, auth::login))
        .service(stranger("/auth/refresh").on(Method::POST, auth::refresh))
        .service(stranger("/auth/logout").on(Method::POST, auth::logout))
        .service(
            stranger("/auth/session")
                .behind(auth::admit)
                .on(Method::POST, auth::begin_session)
                .on(Method::DELETE, auth::end_session),
        )
        .service(stranger("/auth/session/refresh").on(Method::POST, auth::refresh_session))
        .service(stranger("/auth/setup").on(Method::GET, auth::setup_status).on(Method::POST, auth::set_up))
        .service(Endpoint::api("/.well-known/jwks.json").on(Method::GET, auth::jwks))
        .service(Endpoint::page("/").on(Method::GET, meta::index))
        .service(Endpoint::page("/admin").on(Method::GET, meta::admin))
        .service(Endpoint::page("/admin/{file}").on(Method::GET, meta::admin_file))
        .service(Endpoint::page("/docs").on(Method::GET, meta::console))
        .service(Endpoint::page("/docs/{file}").on(Method::GET, meta::console_file))
        .service(Endpoint::answering("/.well-known/api-catalog", meta::LINKSET).on(Method::GET, meta::api_catalog))
        .service(Endpoint::api("/openapi.json").on(Method::GET, meta::openapi))
        .service(Endpoint::page("/problems/{code}").on(Method::GET, meta::problem))
        .service(Endpoint::api("/health/live").on(Method::GET, meta::live))
        .service(Endpoint::api("/health/ready").on(Method::GET, meta::ready))
        .service(Endpoint::page("/metrics").on(Method::GET, meta::metrics))
        .default_service(web::to(|| async { Err::<web::Bytes, _>(Problem::not_found()) }));
}
