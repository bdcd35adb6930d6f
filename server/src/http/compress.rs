//! Pages, style sheets, scripts and JSON go out as gzip (RFC 1952) to whoever takes it. Weights and streams never pass here: only a body
//! that lies in memory whole is touched.
//!
//! What is secret in a page must not be guessed from its length when part of the page is somebody else's (the BREACH attack): form tokens are
//! masked anew in each page (`csrf.rs`), and each answer is longer by a random number of bytes, as in "Heal the Breach" (Palacios and
//! others, IEEE Access 10, 2022).

use std::io::Write;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT_ENCODING, AcceptEncoding, CONTENT_ENCODING, CONTENT_TYPE, ContentEncoding, ETAG, Encoding, Header, HeaderMap, HeaderValue, VARY,
};
use actix_web::middleware::Next;
use flate2::{Compression, GzBuilder};

/// Shorter bodies fit into one packet as they are.
const BYTES_MIN: usize = 1024;
/// At most so many bytes are added at random.
const PADDING_MAX: u8 = 64;

/// Middleware: compresses the answer where that helps and the client takes it.
pub async fn compress(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let is_taken = takes_gzip(&request);
    let is_head = request.method() == Method::HEAD;
    let mut response = next.call(request).await?.map_into_boxed_body();
    if is_head || !is_compressible(response.headers()) {
        return Ok(response);
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    if !is_taken {
        return Ok(response);
    }
    let mut was_compressed = false;
    let mut response = response.map_body(|_, body| match body.try_into_bytes() {
        Ok(bytes) if bytes.len() >= BYTES_MIN => {
            was_compressed = true;
            BoxBody::new(gzip(&bytes))
        }
        Ok(bytes) => BoxBody::new(bytes),
        Err(body) => body,
    });
    if was_compressed {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn takes_gzip(request: &ServiceRequest) -> bool {
    request.headers().contains_key(ACCEPT_ENCODING)
        && AcceptEncoding::parse(request).is_ok_and(|accepted| {
            accepted.negotiate([Encoding::Known(ContentEncoding::Gzip), Encoding::identity()].iter())
                == Some(Encoding::Known(ContentEncoding::Gzip))
        })
}

/// Whether it is text of ours. What has an entity tag is named by its bytes and stays as it is.
fn is_compressible(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    matches!(media_type, "text/html" | "text/css" | "text/javascript" | "image/svg+xml" | "application/json" | "application/problem+json")
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(ETAG)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut random = [0u8; 1];
    getrandom::fill(&mut random).expect("the operating system has random bytes");
    // Whatever unpacks gzip skips the name of the file.
    let name = vec![b'x'; usize::from(random[0] % PADDING_MAX)];
    let mut packed = GzBuilder::new().filename(name).write(Vec::with_capacity(bytes.len() / 4), Compression::new(6));
    packed.write_all(bytes).and_then(|()| packed.finish()).expect("memory takes what is written")
}
