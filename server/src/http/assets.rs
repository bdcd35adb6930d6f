//! Style sheet, script, fonts and marks: embedded in the binary, served under a name that changes with their content.

use std::sync::LazyLock;

use actix_web::{HttpRequest, HttpResponse, http::header, web};

/// One embedded file.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal: $media_type:literal),* $(,)?) => {
        &[$(Asset { name: $name, media_type: $media_type, bytes: include_bytes!(concat!("../../../templates/static/", $name)) }),*]
    };
}

const ASSETS: &[Asset] = assets![
    "style.css": "text/css; charset=utf-8",
    "home.css": "text/css; charset=utf-8",
    "plot.css": "text/css; charset=utf-8",
    "docs.css": "text/css; charset=utf-8",
    "mark.svg": "image/svg+xml",
    "instrument-sans.woff2": "font/woff2",
    "instrument-sans-ext.woff2": "font/woff2",
    "playground.css": "text/css; charset=utf-8",
    "playground.js": "text/javascript; charset=utf-8",
    "apply.js": "text/javascript; charset=utf-8",
    "desk.js": "text/javascript; charset=utf-8",
    "decline.js": "text/javascript; charset=utf-8",
];

/// One name for all of them together, so that a style sheet may point at its fonts by relative names.
static BUNDLE: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for asset in ASSETS {
        hasher.update(asset.name.as_bytes()).update(asset.bytes);
    }
    hasher.finalize().to_hex()[..12].to_owned()
});

/// The address of the embedded file `name`, for templates.
pub fn url(name: &str) -> String {
    format!("/static/{}/{name}", *BUNDLE)
}

/// `GET /static/{bundle}/{name}`
pub async fn serve(request: HttpRequest, path: web::Path<(String, String)>) -> HttpResponse {
    let (bundle, name) = path.into_inner();
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return HttpResponse::NotFound().finish();
    };
    let caching = if bundle == *BUNDLE { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, asset.media_type)).insert_header((header::CACHE_CONTROL, caching));
    if request.method() == actix_web::http::Method::HEAD {
        return response.body(actix_web::body::SizedStream::new(
            asset.bytes.len() as u64,
            futures_util::stream::empty::<Result<bytes::Bytes, std::io::Error>>(),
        ));
    }
    response.body(asset.bytes)
}
