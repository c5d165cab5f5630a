//! The program `posts`: reads the command line and runs it.

use std::process::ExitCode;

#[actix_web::main]
async fn main() -> ExitCode {
    posts_api::cli::run().await
}
