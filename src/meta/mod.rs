//! What the service says of itself: health, metrics, the document and its console, the pages of the problems.

mod console;
mod health;
mod pages;

pub use console::*;
pub use health::*;
pub use pages::*;
