//! What the service says of itself: health, metrics, the catalog, the document and its console, the admin page, the
//! pages of the problems.

mod admin;
mod catalog;
mod console;
mod health;
mod pages;

pub use admin::*;
pub use catalog::*;
pub use console::*;
pub use health::*;
pub use pages::*;
