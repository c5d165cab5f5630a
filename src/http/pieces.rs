//! Long answers, piece by piece.
//!
//! The framework copies what a body gives into the connection's buffer, however much that is, and there it stays until
//! the client takes it. A body that gives little at a time is copied as it is taken: a client that does not read holds
//! a piece of its own, and what is shared with others remains so.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::web::Bytes;

/// The bytes of a piece: as much as the framework sends at once.
const PIECE: usize = 32 << 10;

/// An answer that is sent piece by piece, where it is long.
pub(super) fn in_pieces(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    if !matches!(response.response().body().size(), BodySize::Sized(size) if size > PIECE as u64) {
        return response;
    }
    response.map_body(|_, body| match body.try_into_bytes() {
        Ok(bytes) => BoxBody::new(Pieces(bytes)),
        Err(body) => body,
    })
}

struct Pieces(Bytes);

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let length = self.0.len().min(PIECE);
        Poll::Ready((length > 0).then(|| Ok(self.0.split_to(length))))
    }
}
