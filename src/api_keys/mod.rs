//! The resource `/api-keys`: its wire types and their rules.

mod handlers;
mod store;

use diesel::prelude::*;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::Role;
use crate::db::Timestamp;
use crate::http::fields::{Fields, Text};
use crate::http::problem::Problem;

pub use handlers::*;

const NAME: Text = Text { min: 1, max: 100, blank: false };

/// The most keys that one user may have.
const COUNT_MAX: i64 = 100;

/// An API key. The key itself is kept nowhere.
#[derive(Clone, Debug, Queryable, Serialize, ToSchema)]
pub struct ApiKey {
    /// Given by the server, never reused.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub id: i64,
    /// What its owner calls it.
    #[schema(example = "nightly import")]
    pub name: String,
    /// What it may do. Where its owner may do less, so may the key.
    pub role: Role,
    /// How the key begins after `posts_`, to know it again by.
    #[schema(example = "0a1b2c3d")]
    pub prefix: String,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    /// When it stops to count; null for never.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    pub expires_on: Option<Timestamp>,
    /// The hour in which it was last used; null for not yet.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    pub last_used_on: Option<Timestamp>,
}

/// One's API keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyList {
    /// The keys, by id.
    items: Vec<ApiKey>,
}

/// A key that was created.
#[derive(Serialize, ToSchema)]
pub struct CreatedApiKey {
    #[serde(flatten)]
    api_key: ApiKey,
    /// The key, to send as `Authorization: Bearer …`. This is the only time that it is shown.
    #[schema(example = "posts_0a1b2c3d_6f1d…")]
    key: String,
}

/// A key to be created.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"name": "nightly import", "role": "author", "expires_on": "2027-11-22T00:00:00Z"}))]
pub struct NewApiKey {
    /// What to call it.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\u0000]*[^\u0000\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\u0000]*$"
    )]
    name: String,
    /// What it may do: no more than the caller may.
    role: Role,
    /// When it is to stop to count, in the future; null, or left out, for never.
    #[schema(required = false, value_type = Option<String>, format = DateTime)]
    expires_on: Option<Timestamp>,
}

impl NewApiKey {
    /// Reads the body of a POST.
    pub fn read(body: Value) -> Result<Self, Problem> {
        let mut fields = Fields::of(body)?;
        let name = fields.text("name", &NAME);
        let role = Role::read(&mut fields);
        let expires_on = fields.nullable_instant("expires_on");
        if expires_on.flatten().is_some_and(|expires_on| expires_on <= Timestamp::now()) {
            fields.fault("expires_on", "out_of_range", "`expires_on` must be in the future.");
        }
        let read = || Some(Self { name: name?, role: role?, expires_on: expires_on? });
        fields.finish(read())
    }
}
