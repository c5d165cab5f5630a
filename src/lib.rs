//! `posts`: a JSON REST service over `/posts`, on PostgreSQL or on an embedded SQLite file.
//!
//! The map, from the command line down. A module imports only from those below it; `docs/architecture.md` says why,
//! and a test holds it.

pub mod cli;
pub mod probe;
pub mod server;
pub mod routes;
pub mod openapi;
pub mod meta;
pub mod posts;
pub mod users;
pub mod api_keys;
pub mod telemetry;
pub mod config;
pub mod auth;
pub mod http;
pub mod db;
pub mod search;
