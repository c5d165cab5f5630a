//! Full-text search, as far as it is about words: what a word is, what a query asks for, where it is found in a text.
//!
//! One rule for words, here, is why both databases find the same: they are given words that are ready made, and only
//! keep and compare them. This room is pure: it knows no resource, no database and no HTTP.

mod highlight;
mod query;
mod words;

pub use highlight::Highlights;
pub use query::{InvalidQuery, LENGTH_MAX, Query, Rank, Term};
pub use words::{Word, fold, words};
