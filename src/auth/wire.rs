//! What goes over the wire when somebody signs in or out, and its rules.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Auth;
use super::account::{self, Account, ChosenPassword, Email};
use super::role::Role;
use super::token::{self, Subject};
use crate::http::fields::{Fields, Text};
use crate::http::problem::Problem;

/// A token that somebody sends; ours have 43 characters.
const TOKEN: Text = Text { min: 1, max: 1024, blank: true };

/// Who signs in.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"email": "ada@example.org", "password": "four words nobody expects"}))]
pub struct Login {
    /// The user's e-mail, in whatever case.
    #[schema(min_length = 1, max_length = 254, pattern = r"^[^\u0000]*$")]
    pub(super) email: String,
    /// The user's password.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 1024, pattern = r"^[^\u0000]*$")]
    pub(super) password: SecretString,
}

/// A refresh token, as `login` or `refresh` gave it.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"refresh_token": "mF_9B5f41JqM3sP0c8n2Q7Zt6yWvXu4RkLh1TgEaYoI"}))]
pub struct RefreshToken {
    /// The token.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 1024, pattern = r"^[^\u0000]*$")]
    pub(super) refresh_token: SecretString,
}

/// A new password.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"current_password": "four words nobody expects", "new_password": "five other words nobody expects"}))]
pub struct NewPassword {
    /// The password that counts now.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 1024, pattern = r"^[^\u0000]*$")]
    pub(super) current_password: SecretString,
    /// The password from now on.
    pub(super) new_password: ChosenPassword,
}

/// The first admin.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"setup_token": "mF_9B5f41JqM3sP0c8n2Q7Zt6yWvXu4RkLh1TgEaYoI", "email": "ada@example.org", "password": "four words nobody expects"}))]
#[expect(clippy::struct_field_names, reason = "the contract's name")]
pub struct Setup {
    /// The token that the server printed.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 1024, pattern = r"^[^\u0000]*$")]
    pub(super) setup_token: SecretString,
    /// The admin's e-mail.
    pub(super) email: Email,
    /// The admin's password.
    pub(super) password: ChosenPassword,
}

/// What signing in gives (as RFC 6749 §5.1 has it).
#[derive(Serialize, ToSchema)]
pub struct Tokens {
    /// The access token, to send as `Authorization: Bearer …`.
    access_token: String,
    /// How to send it.
    #[schema(value_type = String, pattern = "^Bearer$", example = "Bearer")]
    token_type: &'static str,
    /// For how many seconds the access token counts.
    #[schema(minimum = 1, example = 900)]
    expires_in: u64,
    /// The refresh token, to get the next access token with. It can be used once.
    refresh_token: String,
}

/// What signing in gives a page of this server: the same without the refresh token, which is in the cookie.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the standard's name")]
pub struct AccessToken {
    /// The access token, to send as `Authorization: Bearer …`.
    access_token: String,
    /// How to send it.
    #[schema(value_type = String, pattern = "^Bearer$", example = "Bearer")]
    token_type: &'static str,
    /// For how many seconds the access token counts.
    #[schema(minimum = 1, example = 900)]
    expires_in: u64,
}

/// What somebody gets who signed in or refreshed, by whichever door.
pub(super) struct Grant {
    /// For now.
    pub(super) access: AccessToken,
    /// For later.
    pub(super) refresh_token: SecretString,
}

/// Whether the service has to be set up.
#[derive(Debug, Serialize, ToSchema)]
pub struct SetupStatus {
    /// Whether there is no user yet, so that a setup token makes the first admin.
    pub(super) needed: bool,
}

/// Who is calling.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// The user's id.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub(super) id: i64,
    /// The user's e-mail, as it was typed when the user was created.
    #[schema(example = "ada@example.org")]
    pub(super) email: String,
    /// What the caller may do. Through an API key that is the key's role, where it is less than the user's.
    pub(super) role: Role,
}

/// Public keys (RFC 7517 §5).
#[derive(Debug, ToSchema)]
#[schema(as = JwkSet)]
pub struct PublicKeys {
    /// The keys; the first is the one that signs now.
    #[expect(dead_code, reason = "the document's")]
    keys: Vec<PublicKey>,
}

/// An Ed25519 public key (RFC 8037 §2).
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the document's")]
#[schema(as = Jwk)]
pub struct PublicKey {
    /// The kind of key.
    #[schema(example = "OKP")]
    kty: String,
    /// The curve.
    #[schema(example = "Ed25519")]
    crv: String,
    /// The algorithm that it is for.
    #[schema(example = "EdDSA")]
    alg: String,
    /// What it is for: signatures.
    #[schema(rename = "use", example = "sig")]
    r#use: String,
    /// The key's name, as in the header of the tokens that it signed: its thumbprint (RFC 7638).
    kid: String,
    /// The key itself, in base64url.
    x: String,
}

impl Login {
    pub(super) fn read(body: Value) -> Result<Self, Problem> {
        let mut fields = Fields::of(body)?;
        let email = fields.text("email", &account::ANY_EMAIL);
        let password = account::read_password(&mut fields, "password");
        let read = || Some(Self { email: email?, password: password? });
        fields.finish(read())
    }
}

impl RefreshToken {
    pub(super) fn read(body: Value) -> Result<Self, Problem> {
        let mut fields = Fields::of(body)?;
        let token = fields.text("refresh_token", &TOKEN);
        fields.finish(token.map(|token| Self { refresh_token: token.into() }))
    }
}

impl NewPassword {
    /// Takes some milliseconds: run it on the lane of the passwords.
    pub(super) fn read(body: Value, email: &str) -> Result<Self, Problem> {
        let mut fields = Fields::of(body)?;
        let current_password = account::read_password(&mut fields, "current_password");
        let new_password = account::read_new_password(&mut fields, "new_password", email);
        let read = || Some(Self { current_password: current_password?, new_password: new_password? });
        fields.finish(read())
    }
}

impl Setup {
    /// Takes some milliseconds: run it on the lane of the passwords.
    pub(super) fn read(body: Value) -> Result<Self, Problem> {
        let mut fields = Fields::of(body)?;
        let setup_token = fields.text("setup_token", &TOKEN).map(SecretString::from);
        let email = account::read_email(&mut fields);
        let password = account::read_new_password(&mut fields, "password", email.as_ref().map_or("", Email::as_str));
        let read = || Some(Self { setup_token: setup_token?, email: email?, password: password? });
        fields.finish(read())
    }
}

impl Grant {
    pub(super) fn new(auth: &Auth, account: &Account, refresh_token: SecretString) -> Result<Self, Problem> {
        let subject = Subject { user_id: account.id, generation: account.token_generation };
        let access = AccessToken {
            access_token: auth.tokens.issue(subject)?.expose_secret().to_owned(),
            token_type: "Bearer",
            expires_in: token::LIFETIME.as_secs(),
        };
        Ok(Self { access, refresh_token })
    }
}

impl From<Grant> for Tokens {
    fn from(Grant { access, refresh_token }: Grant) -> Self {
        let AccessToken { access_token, token_type, expires_in } = access;
        Self { access_token, token_type, expires_in, refresh_token: refresh_token.expose_secret().to_owned() }
    }
}
