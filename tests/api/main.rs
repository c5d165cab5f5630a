//! The service as its clients see it: HTTP to a real server on real databases, each test with its own.

#![expect(unreachable_pub, reason = "a test program has no outside")]

mod harness;
mod life;
mod posts;
