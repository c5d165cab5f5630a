//! The resource `/users`: its wire types and their rules.

mod handlers;
pub(crate) mod store;

use diesel::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToResponse, ToSchema};

use crate::auth::Role;
use crate::auth::account::{self, ChosenPassword, Email, NewAccount};
use crate::db::Timestamp;
use crate::http::conditional::Validators;
use crate::http::fields::Fields;
use crate::http::patch::Patch;
use crate::http::problem::Problem;
use crate::http::schema::Derived;

pub use handlers::*;

const READ_ONLY: [&str; 5] = ["id", "email", "created_on", "updated_on", "version"];
const WRITABLE: [&str; 2] = ["role", "disabled"];

/// A user.
#[derive(Clone, Debug, PartialEq, Queryable, Serialize, ToSchema)]
#[schema(example = json!({
    "id": 3,
    "email": "ada@example.org",
    "role": "author",
    "disabled": false,
    "created_on": "2026-11-22T09:30:00.000000Z",
    "updated_on": "2026-11-22T09:30:00.000000Z",
    "version": 1
}))]
pub struct User {
    /// Given by the server, never reused.
    #[schema(read_only, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub id: i64,
    /// As it was typed when the user was created.
    #[schema(read_only, value_type = Email)]
    pub email: String,
    /// What the user may do.
    pub role: Role,
    /// Whether the user is kept from signing in and from everything that a token or a key is needed for.
    pub disabled: bool,
    /// When it was created, in UTC with microseconds.
    #[schema(read_only, value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    /// When it last changed, in UTC with microseconds.
    #[schema(read_only, value_type = String, format = DateTime)]
    pub updated_on: Timestamp,
    /// 1 at creation, and one more at every change that changes something.
    #[schema(read_only, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub version: i64,
}

/// A part of the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserPage {
    /// The users, by id.
    items: Vec<User>,
    /// Where the next page begins; null on the last.
    #[schema(required = true)]
    next_cursor: Option<String>,
    /// With `Prefer: count=exact`: how many users there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    total: Option<i64>,
}

/// A user as an answer of its own.
#[derive(Debug, ToResponse)]
#[response(
    description = "The user as it is now.",
    content_type = "application/json",
    headers(
        ("ETag" = String, description = "The tag of this version, for `If-Match` and `If-None-Match`."),
        ("Last-Modified" = String, description = "When it last changed."),
    ),
)]
pub struct UserState(#[expect(dead_code, reason = "the document's")] User);

/// A user to be created.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"email": "ada@example.org", "password": "four words nobody expects", "role": "author"}))]
pub struct NewUser {
    /// The user's e-mail. Another user must not have it, in whatever case.
    email: Email,
    /// What the user signs in with.
    password: ChosenPassword,
    /// What the user may do.
    role: Role,
}

/// The body of a PATCH by merge patch, as the document shows it; [`UserChange::read`] reads it.
#[derive(Debug)]
pub struct UserMergePatch;

/// What a user is to be from now on.
#[derive(Debug)]
pub struct UserChange {
    role: Role,
    disabled: bool,
    password: Option<ChosenPassword>,
}

impl User {
    /// What conditional requests compare.
    #[must_use]
    pub fn validators(&self) -> Validators {
        Validators::of_version(self.id, self.version, self.updated_on)
    }
}

impl NewUser {
    /// Reads the body of a POST. Takes some milliseconds: run it on the lane of the passwords.
    pub fn read(body: Value) -> Result<Self, Problem> {
        let mut fields = Fields::of(body)?;
        let email = account::read_email(&mut fields);
        let password = account::read_new_password(&mut fields, "password", email.as_ref().map_or("", Email::as_str));
        let role = Role::read(&mut fields);
        let read = || Some(Self { email: email?, password: password?, role: role? });
        fields.finish(read())
    }

    /// What is stored of the user. Takes a while: run it on the lane of the passwords.
    pub fn into_account(self) -> Result<NewAccount, Problem> {
        let hash = self.password.hash()?;
        Ok(NewAccount::new(self.email, self.role, hash))
    }
}

impl UserChange {
    /// A stored user with a patch applied to it.
    pub fn document(patch: &Patch, stored: &User) -> Result<Value, Problem> {
        patch.apply_to_resource(json!(stored), &WRITABLE)
    }

    /// Reads such a document. With a password in it that takes some milliseconds: run it on the lane of the passwords.
    pub fn read(document: Value, stored: &User) -> Result<Self, Problem> {
        let mut fields = Fields::of(document)?;
        let role = Role::read(&mut fields);
        let disabled = fields.boolean("disabled", false);
        let password = if fields.has("password") {
            account::read_new_password(&mut fields, "password", &stored.email).map(Some)
        } else {
            Some(None)
        };
        let stored = json!(stored);
        for name in READ_ONLY {
            fields.read_only(name, stored.get(name));
        }
        let read = || Some(Self { role: role?, disabled: disabled?, password: password? });
        fields.finish(read())
    }
}

impl ToSchema for UserMergePatch {}

impl PartialSchema for UserMergePatch {
    fn schema() -> RefOr<Schema> {
        Derived::from(User::schema(), "The fields to change (RFC 7396).")
            .with("password", ChosenPassword::schema())
            .nullable(&["disabled"])
            .with_example(json!({"role": "editor"}))
            .into_schema()
    }
}
