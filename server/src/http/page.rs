//! A page in its frame. The viewer, the flash and the form token come as plain values.

use actix_web::body::MessageBody;
use actix_web::cookie::Cookie;
use actix_web::cookie::time::Duration;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use askama::Template;
use std::future::{Ready, ready};

use super::{assets, csrf};
use crate::error::Error;

/// How long a sentence waits for the page that shows it.
const FLASH_LIFE: Duration = Duration::minutes(1);

/// The sentence that an answer leaves for the next page, in the answer's extensions; it travels in a cookie of its own.
#[derive(Clone, Debug, Default)]
pub struct Flash(String);

impl Flash {
    /// The sentence that the browser brought along. `secure`: the portal is reached by TLS.
    pub fn from_cookie(request: &HttpRequest, secure: bool) -> Option<Self> {
        let cookie = request.cookie(flash_cookie_name(secure))?;
        let text = percent_encoding::percent_decode_str(cookie.value()).decode_utf8_lossy().into_owned();
        Some(Self(text))
    }

    /// The cookie that carries it; an empty sentence deletes the cookie.
    pub fn cookie(&self, secure: bool) -> Cookie<'static> {
        let value = percent_encoding::utf8_percent_encode(&self.0, percent_encoding::NON_ALPHANUMERIC).to_string();
        let life = if value.is_empty() { Duration::ZERO } else { FLASH_LIFE };
        csrf::own_cookie(flash_cookie_name(secure), value, secure).max_age(life).finish()
    }
}

fn flash_cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-sluice-flash" } else { "sluice-flash" }
}

/// Who is looking, as the frame shows it. In the request's extensions when somebody is signed in.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The name they gave.
    pub name: String,
    /// Their address.
    pub email: String,
    /// Whether the review queue is theirs to see.
    pub reviews: bool,
    /// Whether the admin's pages are theirs to see.
    pub administers: bool,
}

/// What every page needs: extracted from the request, handed to the template as `frame`.
#[derive(Clone)]
pub struct Frame {
    /// Who is looking; nobody when signed out.
    pub viewer: Option<Viewer>,
    /// What each form carries in its field `csrf`.
    pub csrf: String,
    /// One sentence from the page before, such as "Application sent."
    pub flash: Option<String>,
    /// The path of this page, to mark where one is.
    pub path: String,
}

impl Frame {
    /// The address of an embedded file.
    pub fn asset(&self, name: &str) -> String {
        assets::url(name)
    }

    /// Whether this page lies in the part of the portal that begins with `prefix`.
    pub fn is_in(&self, prefix: &str) -> bool {
        self.path == prefix || self.path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The frame of `request`.
    pub fn of(request: &HttpRequest) -> Self {
        let extensions = request.extensions();
        let flash = extensions.get::<Flash>().map(|flash| flash.0.clone());
        Self {
            viewer: extensions.get::<Viewer>().cloned(),
            csrf: extensions.get::<csrf::Seed>().map(csrf::Seed::token).unwrap_or_default(),
            flash: flash.filter(|text| !text.is_empty()),
            path: request.path().to_owned(),
        }
    }
}

impl FromRequest for Frame {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Frame::of(request)))
    }
}

/// The page as an answer. Pages are about the viewer, so nobody keeps them.
pub fn page(template: &impl Template) -> Result<HttpResponse, Error> {
    let body = template.render().map_err(Error::internal)?;
    Ok(html(HttpResponse::Ok(), body))
}

/// The page of a form that came back with faults: the same page, filled in, with status 422.
pub fn page_with_faults(template: &impl Template) -> Result<HttpResponse, Error> {
    let body = template.render().map_err(Error::internal)?;
    Ok(html(HttpResponse::UnprocessableEntity(), body))
}

/// The page of something that is not as its reader saw it any more: the page as it is now, with status 409.
pub fn page_in_conflict(template: &impl Template) -> Result<HttpResponse, Error> {
    let body = template.render().map_err(Error::internal)?;
    Ok(html(HttpResponse::Conflict(), body))
}

/// The page of something that was done too often, with status 429 and the time to wait.
pub fn page_limited(template: &impl Template, retry_after_s: u32) -> Result<HttpResponse, Error> {
    let body = template.render().map_err(Error::internal)?;
    let mut response = HttpResponse::TooManyRequests();
    response.insert_header((header::RETRY_AFTER, retry_after_s.to_string()));
    Ok(html(response, body))
}

/// The page of something that others keep too busy, with status 503 and the time to wait.
pub fn page_busy(template: &impl Template, retry_after_s: u32) -> Result<HttpResponse, Error> {
    let body = template.render().map_err(Error::internal)?;
    let mut response = HttpResponse::ServiceUnavailable();
    response.insert_header((header::RETRY_AFTER, retry_after_s.to_string()));
    Ok(html(response, body))
}

pub(super) fn html(mut response: actix_web::HttpResponseBuilder, body: String) -> HttpResponse {
    response.content_type("text/html; charset=utf-8").insert_header((header::CACHE_CONTROL, "no-store")).body(body)
}

/// "Done; look there", after every accepted form. `flash` is shown once on the next page.
pub fn see_other(path: &str, flash: Option<&str>) -> HttpResponse {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((header::LOCATION, path));
    let mut response = response.finish();
    if let Some(text) = flash {
        response.extensions_mut().insert(Flash(text.to_owned()));
    }
    response
}

/// That a request which is answered as `GET` came as `HEAD`.
struct CameAsHead;

/// Whether nothing may follow the head of the answer, whatever the request is answered as.
pub fn is_head(request: &HttpRequest) -> bool {
    request.method() == Method::HEAD || request.extensions().contains::<CameAsHead>()
}

/// Lets `HEAD` of a page do what `GET` does; the protocol layer leaves the body out. Files answer `HEAD` themselves, without opening anything.
pub async fn head_like_get(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let path = request.path();
    let answers_itself = path.starts_with("/static/") || path.starts_with("/api/") || path.contains("/resolve/") || path.contains("/raw/");
    if request.method() == Method::HEAD && !answers_itself {
        request.head_mut().method = Method::GET;
        request.extensions_mut().insert(CameAsHead);
    }
    next.call(request).await
}
