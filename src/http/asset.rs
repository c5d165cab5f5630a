//! What stays the same while the program runs: pages, scripts, the OpenAPI document.
//!
//! Such a body is coded once and not at each request, and so at a level that would be too slow for one. An answer whose
//! `Content-Encoding` is set already goes through the layer that codes all others as it is.

use std::io::{self, Write as _};

use actix_web::http::header::{self, ContentEncoding};
use actix_web::web::{self, Bytes};
use actix_web::{HttpResponse, HttpResponseBuilder};
use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use tokio::sync::OnceCell;

use super::conditional::{ReadConditions, Validators};
use super::problem::Problem;

/// Brotli's quality. The highest, 11, makes a script a tenth smaller in fifteen times the time: seconds for the console's.
const BROTLI_QUALITY: i32 = 9;

/// Zstandard's level. The highest for ordinary use, 19, saves six hundredths in six times the time.
const ZSTD_LEVEL: i32 = 12;

/// A body that stays the same, its headers and its codings.
#[derive(Debug)]
pub struct Asset {
    body: Bytes,
    content_type: &'static str,
    cache_control: &'static str,
    policy: Option<&'static str>,
    validators: Validators,
    /// Whether a coding makes it smaller.
    is_coded: bool,
    coded: Codings,
}

/// The body in each coding in which somebody has asked for it.
#[derive(Debug, Default)]
struct Codings {
    brotli: OnceCell<Bytes>,
    deflate: OnceCell<Bytes>,
    gzip: OnceCell<Bytes>,
    zstd: OnceCell<Bytes>,
}

/// Makes a coding of a body.
type Encode = fn(&[u8]) -> io::Result<Vec<u8>>;

impl Asset {
    /// A body that caches may keep, and ask each time whether it is current.
    pub fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self {
            content_type,
            cache_control: "no-cache",
            policy: None,
            validators: Validators::of_bytes(&body),
            is_coded: true,
            coded: Codings::default(),
            body,
        }
    }

    /// The same with another `Cache-Control`.
    #[must_use]
    pub fn cached(self, cache_control: &'static str) -> Self {
        Self { cache_control, ..self }
    }

    /// The same with a `Content-Security-Policy` of its own.
    #[must_use]
    pub fn under(self, policy: &'static str) -> Self {
        Self { policy: Some(policy), ..self }
    }

    /// The same, but always sent plain: what is compressed by its format gets no smaller.
    #[must_use]
    pub fn plain(self) -> Self {
        Self { is_coded: false, ..self }
    }

    /// The answer to a GET: the body in the coding that the request prefers, or that the client has it.
    pub async fn answer(&self, conditions: ReadConditions) -> Result<HttpResponse, Problem> {
        let conditions = if self.is_coded { conditions.with_lasting_coding() } else { conditions.without_coding() };
        if let Some(mut response) = conditions.not_modified(&self.validators)? {
            return Ok(self.describe(&mut response).finish());
        }
        let mut response = HttpResponse::Ok();
        self.validators.set_on(self.describe(&mut response)).content_type(self.content_type);
        if let Some(coding) = conditions.coding()
            && let Some(body) = self.coded(coding).await
        {
            return Ok(response.insert_header(coding).body(body));
        }
        Ok(response.body(self.body.clone()))
    }

    /// Sets what the answer has also where it has no body: a cache replaces the headers that it has by these.
    fn describe<'a>(&self, response: &'a mut HttpResponseBuilder) -> &'a mut HttpResponseBuilder {
        response.insert_header((header::CACHE_CONTROL, self.cache_control));
        if let Some(policy) = self.policy {
            response.insert_header((header::CONTENT_SECURITY_POLICY, policy));
        }
        response
    }

    /// The body in this coding. Whoever asks first waits until it is made, on a thread that may take its time. Should that
    /// fail, the body goes out plain, and the layer that codes all others does it.
    async fn coded(&self, coding: ContentEncoding) -> Option<Bytes> {
        let (coded, encode): (_, Encode) = match coding {
            ContentEncoding::Brotli => (&self.coded.brotli, brotli),
            ContentEncoding::Deflate => (&self.coded.deflate, deflate),
            ContentEncoding::Gzip => (&self.coded.gzip, gzip),
            ContentEncoding::Zstd => (&self.coded.zstd, zstd),
            _ => return None,
        };
        let make = || async {
            let body = self.body.clone();
            let coded = web::block(move || encode(&body)).await.map_err(io::Error::other)?;
            coded.map(Bytes::from)
        };
        coded.get_or_try_init(make).await.ok().cloned()
    }
}

fn brotli(body: &[u8]) -> io::Result<Vec<u8>> {
    let parameters = BrotliEncoderParams { quality: BROTLI_QUALITY, ..BrotliEncoderParams::default() };
    let mut coded = Vec::new();
    brotli::BrotliCompress(&mut &*body, &mut coded, &parameters)?;
    Ok(coded)
}

/// What HTTP calls `deflate` is in zlib's wrapping (RFC 9110 §8.4.1.2).
fn deflate(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut coder = ZlibEncoder::new(Vec::new(), Compression::best());
    coder.write_all(body)?;
    coder.finish()
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut coder = GzEncoder::new(Vec::new(), Compression::best());
    coder.write_all(body)?;
    coder.finish()
}

fn zstd(body: &[u8]) -> io::Result<Vec<u8>> {
    zstd::encode_all(body, ZSTD_LEVEL)
}
