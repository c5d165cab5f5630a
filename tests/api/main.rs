//! The service as its clients see it: HTTP to a real server on real databases, each test with its own.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "where a test cannot go on, it fails"
)]
#![expect(unreachable_pub, reason = "a test program has no outside")]

mod harness;
mod access;
mod answers;
mod api_keys;
mod assets;
mod browser_sessions;
mod clock_steps;
mod conditional;
mod connections;
mod faults_postgres;
mod faults_sqlite;
mod forgeries;
mod freshness;
mod hostile_bodies;
mod hostile_clients;
mod idempotency;
mod life;
mod lists;
mod load;
mod migrations;
mod openapi;
mod overload;
mod panics;
mod patches;
mod plans;
mod posts;
mod problems;
mod read_lanes;
mod replicas;
mod rules;
mod schema;
mod search;
mod search_index;
mod secrets;
mod service;
mod sessions;
mod setup;
mod sign_in;
mod slow_clients;
mod starts;
mod tokens;
mod users;
mod writes;
