//! Which content coding an answer has (RFC 9110 §12.5.3).

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::Error;
use actix_web::http::header::{
    ACCEPT_ENCODING, AcceptEncoding, ContentEncoding, Encoding, HeaderValue, Preference, Quality,
};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpRequest};

/// What a request accepts, where the choice was narrowed.
struct Accepted(AcceptEncoding);

/// Narrows the choice to gzip where no other coding is preferred to it, as by browsers. An answer that is coded for one
/// request alone would take twenty times as long in Brotli, to be a tenth smaller. Those that are coded once are not
/// narrowed.
pub async fn prefer_gzip(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if let Some(accepted) = request.get_header::<AcceptEncoding>()
        && accepted.len() > 1
        && likes_gzip_best(&accepted)
    {
        request.extensions_mut().insert(Accepted(accepted));
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    next.call(request).await
}

/// The content coding of an answer that is made for this request, and that of one that is kept in each coding; `None` for
/// none.
pub(super) fn codings(request: &HttpRequest) -> (Option<ContentEncoding>, Option<ContentEncoding>) {
    let coding = request.get_header().and_then(|accepted| choose(&accepted));
    let narrowed = request.extensions();
    let lasting = narrowed.get::<Accepted>().map_or(coding, |Accepted(accepted)| choose(accepted));
    (coding, lasting)
}

fn choose(accepted: &AcceptEncoding) -> Option<ContentEncoding> {
    let known = [Encoding::identity(), Encoding::brotli(), Encoding::gzip(), Encoding::deflate(), Encoding::zstd()];
    match accepted.negotiate(known.iter())? {
        Encoding::Known(ContentEncoding::Identity) | Encoding::Unknown(_) => None,
        Encoding::Known(coding) => Some(coding),
    }
}

fn likes_gzip_best(accepted: &AcceptEncoding) -> bool {
    let gzip = Preference::Specific(Encoding::gzip());
    let best = accepted.iter().map(|item| item.quality).max();
    accepted.iter().any(|item| item.item == gzip && Some(item.quality) == best && item.quality > Quality::ZERO)
}
