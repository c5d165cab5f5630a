//! Cursors: where the next page of a list begins, sealed so that a client can only hand it back.
//!
//! A cursor is encrypted and authenticated together with the list that it is for: its name, order and filters. It
//! cannot be made up, changed or used with another list, and it says nothing to who finds one. It carries no rights:
//! each page holds what whoever asks for it may see.
//!
//! AES-GCM-SIV (RFC 8452) needs no nonce that differs: the same place in the same list is always the same cursor, so
//! that equal pages have equal bytes, and the same `ETag`.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::{Code, Fault, Problem};

/// What cursors are sealed with. While keys are exchanged, several open them.
pub struct CursorKeys {
    first: LessSafeKey,
    others: Vec<LessSafeKey>,
}

impl CursorKeys {
    /// Keys from these secrets, of which there must be one at least; the first seals.
    pub fn new(secrets: impl IntoIterator<Item = [u8; 32]>) -> Result<Self, Unspecified> {
        let keys = secrets.into_iter().map(|secret| UnboundKey::new(&AES_256_GCM_SIV, &secret).map(LessSafeKey::new));
        let mut keys = keys.collect::<Result<Vec<_>, _>>()?.into_iter();
        Ok(Self { first: keys.next().ok_or(Unspecified)?, others: keys.collect() })
    }

    /// The cursor for a position in a list. `list` is all that the list is: its name, order and filters.
    pub fn seal(&self, list: &str, position: &impl Serialize) -> Result<String, Problem> {
        let mut bytes = serde_json::to_vec(position).map_err(|error| Problem::internal(&error))?;
        self.first
            .seal_in_place_append_tag(nonce(), Aad::from(list.as_bytes()), &mut bytes)
            .map_err(|error| Problem::internal(&error))?;
        Ok(BASE64URL_NOPAD.encode(&bytes))
    }

    /// The position that a cursor is for.
    pub fn open<P: DeserializeOwned>(&self, list: &str, cursor: &str) -> Result<P, Problem> {
        self.try_open(list, cursor).ok_or_else(|| {
            let detail = "`cursor` must be the `next_cursor` of this list's last page, with the same sort and filters.";
            let fault = Fault::at_parameter("cursor", "invalid", detail);
            let detail = "The cursor is none of this list's. Begin again without one.";
            Problem::new(Code::InvalidCursor, detail).with_faults(vec![fault])
        })
    }

    fn try_open<P: DeserializeOwned>(&self, list: &str, cursor: &str) -> Option<P> {
        let sealed = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
        std::iter::once(&self.first).chain(&self.others).find_map(|key| {
            let mut bytes = sealed.clone();
            let plain = key.open_in_place(nonce(), Aad::from(list.as_bytes()), &mut bytes).ok()?;
            serde_json::from_slice(plain).ok()
        })
    }
}

impl fmt::Debug for CursorKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CursorKeys").finish_non_exhaustive()
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}
