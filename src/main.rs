//! The program `posts`: reads the command line and runs it.

use std::process::ExitCode;

/// What many threads allocate and free, this one does with fewer instructions than the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[actix_web::main]
async fn main() -> ExitCode {
    posts_api::cli::run().await
}
