//! HTTP as every resource speaks it: problems, JSON bodies, patches, conditions, pages, retries, routes. Knows no
//! resource.

pub mod asset;
pub mod client;
pub mod coding;
pub mod conditional;
pub mod connection;
pub mod cookies;
pub mod cursor;
pub mod endpoint;
pub mod fields;
pub mod idempotency;
pub mod json;
pub mod middleware;
pub mod page;
pub mod patch;
pub mod path;
mod pieces;
pub mod prefer;
pub mod problem;
pub mod query;
pub mod read_after;
pub mod responses;
pub mod schema;
pub mod selection;
mod series;
mod unread;

/// The largest integer that every JSON client reads exactly: 2^53 − 1 (RFC 8259 §6).
pub const MAX_INTEGER: i64 = 9_007_199_254_740_991;
