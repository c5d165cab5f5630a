//! Secrets of 256 random bits. They are given once and kept nowhere: what is kept is their SHA-256, which is enough to
//! know one again, and of no use to who reads the database.

use aws_lc_rs::{digest, rand};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use secrecy::{ExposeSecret as _, SecretString};

use crate::http::problem::Problem;

/// What is kept of a secret.
pub type Hash = Vec<u8>;

/// An API key, as `posts_<prefix>_<secret>`.
#[derive(Debug)]
pub struct NewKey {
    /// The whole key.
    pub key: SecretString,
    /// The part that may be shown, by which its owner knows it again.
    pub prefix: String,
}

/// What is kept of this secret.
#[must_use]
pub fn hash(secret: &SecretString) -> Hash {
    digest(secret.expose_secret()).to_vec()
}

/// The SHA-256 of a text.
pub(super) fn digest(text: &str) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    bytes
}

/// A new secret, in 43 characters that need no escaping in a URL.
pub fn generate() -> Result<SecretString, Problem> {
    Ok(encode(&random::<32>()?))
}

/// A new API key. Its secret part is hexadecimal, so that a double click selects all of it.
pub fn generate_key() -> Result<NewKey, Problem> {
    let prefix = HEXLOWER.encode(&random::<4>()?);
    let secret = HEXLOWER.encode(&random::<32>()?);
    Ok(NewKey { key: format!("posts_{prefix}_{secret}").into(), prefix })
}

/// Whether a credential has the form of an API key.
pub(super) fn is_key(credential: &str) -> bool {
    credential.starts_with("posts_")
}

pub(super) fn encode(bytes: &[u8]) -> SecretString {
    BASE64URL_NOPAD.encode(bytes).into()
}

/// Bytes from the system's source of randomness.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|error| Problem::internal(&error))?;
    Ok(bytes)
}
