//! Bodies that nobody reads to their end: a refusal comes before them, or their time is up.
//!
//! A connection can go on only where the rest of the body was read. actix-web reads on for a chunked body that its
//! handler dropped, however long that takes; for one that is still held when the answer was sent, it closes the
//! connection instead, after a moment in which the client can read the answer. So this holds it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage as _;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _};

/// Reads what has arrived of the body of a request that is refused, and forgets it: where that is all of it, as of most,
/// the connection can go on.
pub(super) async fn discard(request: &mut ServiceRequest) {
    // The framework goes on with the bytes that came with the head once it is its turn again.
    tokio::task::yield_now().await;
    let mut payload = request.take_payload();
    while let Some(Some(Ok(_))) = payload.next().now_or_never() {}
    request.set_payload(payload);
}

/// A request's body, which its handler reads from and need not be the last to hold.
#[derive(Clone)]
pub(super) struct HeldBody(Rc<RefCell<Payload>>);

impl HeldBody {
    /// Takes hold of a request's body, where that is chunked.
    pub(super) fn hold(request: &mut ServiceRequest) -> Option<Self> {
        if !request.headers().contains_key(header::TRANSFER_ENCODING) {
            return None;
        }
        let held = Self(Rc::new(RefCell::new(request.take_payload())));
        request.set_payload(Payload::Stream { payload: Box::pin(held.clone()) });
        Some(held)
    }

    /// Lets go when the answer was sent.
    pub(super) fn until_sent(self, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        response.map_body(|_, body| BoxBody::new(Holding { body, _held: self }))
    }
}

impl Stream for HeldBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll_next_unpin(context)
    }
}

struct Holding {
    body: BoxBody,
    _held: HeldBody,
}

impl MessageBody for Holding {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
