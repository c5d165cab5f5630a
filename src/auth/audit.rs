//! A line in the log for each thing that matters to who can get in: who, from where, what. Never a secret, and never
//! what somebody typed for an e-mail, which may be a password in the wrong field.

use actix_web::HttpRequest;

use crate::http::client;
use crate::http::middleware::RequestId;

/// Where something comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    request: String,
    client: String,
}

impl Origin {
    /// The client behind a request.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        Self {
            request: RequestId::of(request),
            client: client::address(request).map(|address| address.to_string()).unwrap_or_default(),
        }
    }

    /// Notes what happened, by whom and to which user or key.
    pub fn note(&self, event: &'static str, user: Option<i64>, subject: Option<i64>) {
        tracing::info!(id = self.request, client = self.client, event, user, subject, "audit");
    }

    /// Notes what should not have happened.
    pub fn warn(&self, event: &'static str, user: Option<i64>) {
        tracing::warn!(id = self.request, client = self.client, event, user, "audit");
    }
}
