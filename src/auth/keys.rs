//! The keys that sign access tokens: Ed25519 (RFC 8032), in PEM files.

use std::fmt;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::{hmac, signature::KeyPair as _};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

/// What a PEM file with a private key says that it holds (RFC 7468 §10).
const PEM_LABEL: &str = "PRIVATE KEY";

/// What the key that makes refresh tokens is derived for.
const REFRESH_TOKENS: &str = "posts refresh token";

/// Why a text is no signing key, as an end to a sentence. Never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidKey(&'static str);

/// The live keys: the first signs, and what any of them signed counts.
#[derive(Clone, Debug)]
pub struct SigningKeys {
    first: SigningKey,
    others: Vec<SigningKey>,
}

/// A private key and what follows from it.
#[derive(Clone)]
pub struct SigningKey {
    /// The key's name: its thumbprint (RFC 7638), so that every server calls it the same.
    pub(super) id: String,
    pub(super) private: EncodingKey,
    pub(super) public: DecodingKey,
    /// Makes secrets for further purposes.
    derivation: hmac::Key,
    /// Makes of a refresh token the one that follows it.
    pub(super) successor: hmac::Key,
    jwk: Jwk,
}

impl SigningKeys {
    /// These keys; the first is the one that signs. `None` where there is none.
    #[must_use]
    pub fn new(keys: Vec<SigningKey>) -> Option<Self> {
        let mut keys = keys.into_iter();
        Some(Self { first: keys.next()?, others: keys.collect() })
    }

    /// The public keys, for who wants to check a token by itself (RFC 7517 §5).
    #[must_use]
    pub fn public(&self) -> JwkSet {
        JwkSet { keys: self.all().map(|key| key.jwk.clone()).collect() }
    }

    pub(super) const fn first(&self) -> &SigningKey {
        &self.first
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// A secret of each key's own for a further purpose: the same on every server, and of no use to find the key. Of
    /// two purposes neither tells the other's. The first is the one to write with.
    pub fn derive(&self, purpose: &str) -> impl Iterator<Item = [u8; 32]> {
        self.all().map(move |key| derive(&key.derivation, purpose))
    }

    /// The key with that name, one of ours or none.
    pub(super) fn find(&self, id: &str) -> Option<&SigningKey> {
        self.all().find(|key| key.id == id)
    }
}

impl SigningKey {
    /// A new key, as the text of a PEM file.
    pub fn generate() -> Result<String, InvalidKey> {
        let pair = Ed25519KeyPair::generate().map_err(|_| InvalidKey("cannot be made: there is no randomness"))?;
        let der = pair.to_pkcs8v1().map_err(|_| InvalidKey("cannot be written"))?;
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        Ok(pem::encode_config(&pem::Pem::new(PEM_LABEL, der.as_ref()), config))
    }

    /// Reads a key from the text of a PEM file.
    pub fn from_pem(text: &str) -> Result<Self, InvalidKey> {
        let pem = pem::parse(text).map_err(|_| InvalidKey("is no PEM file"))?;
        if pem.tag() != PEM_LABEL {
            return Err(InvalidKey("holds no private key in PKCS #8"));
        }
        let refused = InvalidKey("holds no Ed25519 key");
        let pair = Ed25519KeyPair::from_pkcs8(pem.contents()).map_err(|_| refused)?;
        let seed = pair.seed().map_err(|_| refused)?;
        let seed = seed.as_be_bytes().map_err(|_| refused)?;
        let derivation = hmac::Key::new(hmac::HMAC_SHA256, seed.as_ref());

        let private = EncodingKey::from_ed_der(pem.contents());
        let mut jwk = Jwk::from_encoding_key(&private, Algorithm::EdDSA).map_err(|_| refused)?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| refused)?;
        jwk.common.key_id = Some(id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            id,
            private,
            public: DecodingKey::from_ed_der(pair.public_key().as_ref()),
            successor: hmac::Key::new(hmac::HMAC_SHA256, &derive(&derivation, REFRESH_TOKENS)),
            derivation,
            jwk,
        })
    }
}

fn derive(key: &hmac::Key, purpose: &str) -> [u8; 32] {
    let mut secret = [0; 32];
    secret.copy_from_slice(hmac::sign(key, purpose.as_bytes()).as_ref());
    secret
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.id).finish()
    }
}
