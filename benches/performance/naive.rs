//! The way of the tutorials, for comparison: a thread of the blocking pool, a pooled connection that is tested at check-out, and
//! a query for each request. It does less than the service around it: no log, no metrics, no conditions, no headers.

use actix_web::web::{Data, Path, block};
use actix_web::{App, HttpResponse, HttpServer, web};
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use posts_api::db::Timestamp;
use serde::Serialize;

diesel::table! {
    use diesel::sql_types::{BigInt, Bool, Nullable, Text};
    use posts_api::db::types::Timestamptz;

    posts (id) {
        id -> BigInt,
        title -> Text,
        author -> Nullable<Text>,
        content -> Nullable<Text>,
        published -> Bool,
        owner_id -> Nullable<BigInt>,
        created_on -> Timestamptz,
        updated_on -> Timestamptz,
        version -> BigInt,
    }
}

#[derive(Queryable, Serialize)]
struct Post {
    id: i64,
    title: String,
    author: Option<String>,
    content: Option<String>,
    published: bool,
    owner_id: Option<i64>,
    created_on: Timestamp,
    updated_on: Timestamp,
    version: i64,
}

type Connections = Pool<ConnectionManager<PgConnection>>;

/// Serves `GET /posts/{id}` until the process is killed. Prints the address as the service does.
pub(crate) fn serve(database: &str) {
    // As many connections as the service has by default.
    let connections: Connections =
        Pool::builder().max_size(16).test_on_check_out(true).build(ConnectionManager::new(database)).unwrap();
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            App::new().app_data(Data::new(connections.clone())).route("/posts/{id}", web::get().to(post))
        });
        let server = server.bind("127.0.0.1:0").unwrap();
        println!("listening on http://{}", server.addrs()[0]);
        server.run().await.unwrap();
    });
}

async fn post(connections: Data<Connections>, id: Path<i64>) -> HttpResponse {
    let found = block(move || {
        let mut connection = connections.get().unwrap();
        posts::table.find(*id).first::<Post>(&mut connection).optional().unwrap()
    });
    match found.await.unwrap() {
        Some(post) => HttpResponse::Ok().json(post),
        None => HttpResponse::NotFound().finish(),
    }
}
