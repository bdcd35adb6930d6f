//! What somebody sends after their session has ended is not lost: the answer is a page that carries it, to be sent again once they have
//! signed in. It is carried only where the form was one of our own pages' (`csrf.rs`), and never where secrets are typed.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use askama::Template;

use super::csrf::{FORM_BYTES_MAX, Seed};
use super::page::{Frame, Viewer, html};
use crate::error::{Error, FieldError};

/// Where passwords are typed and keys are shown: nothing sent there is shown again.
const SECRET: &str = "/account";
/// Here a form is sent to its page's address and a word; elsewhere to the address of the page itself.
const PAGES_OF_FORMS: [&str; 4] = ["/review/", "/applications/", "/grants/", "/admin/"];

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOutPage {
    frame: Frame,
    /// Where to sign in, and to get back to the form from there.
    sign_in: String,
    /// Where it is sent again.
    action: String,
    fields: Vec<(String, String)>,
}

impl SignedOutPage {
    /// What was written in words, to be seen and copied.
    fn words(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(_, value)| value.trim()).filter(|value| value.contains(char::is_whitespace))
    }
}

/// Middleware: keeps what was sent where the answer is that one has to sign in.
pub async fn keep_what_was_sent(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if request.method() != Method::POST || !is_form_of_a_page(&request) || request.extensions().contains::<Viewer>() {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let body = match read(&mut request).await {
        Ok(body) => body,
        Err(error) => return Ok(request.error_response(error)),
    };
    request.set_payload(body.clone().into());
    let answer = next.call(request).await?.map_into_boxed_body();
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
    if answer.status() != StatusCode::UNAUTHORIZED || !is_ours(answer.request(), &fields) {
        return Ok(answer);
    }
    let (request, _) = answer.into_parts();
    let page = SignedOutPage {
        sign_in: format!("/sign-in?then={}", percent_encoding::utf8_percent_encode(&page_of(&request), percent_encoding::NON_ALPHANUMERIC)),
        action: request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        fields: if request.path().starts_with(SECRET) { vec![] } else { without_token(fields) },
        frame: Frame::of(&request),
    };
    let body = page.render().map_err(Error::internal)?;
    Ok(ServiceResponse::new(request, html(HttpResponse::Unauthorized(), body)))
}

fn is_form_of_a_page(request: &ServiceRequest) -> bool {
    let says = |name, word| request.headers().get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(word));
    says(header::ACCEPT, "text/html") && says(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

async fn read(request: &mut ServiceRequest) -> Result<Bytes, Error> {
    let unread = |cause: String| Error::from(FieldError::new("form", format!("cannot be read: {cause}")));
    let payload = request.extract::<Payload>().await.map_err(|cause| unread(cause.to_string()))?;
    let body = payload.to_bytes_limited(FORM_BYTES_MAX).await.map_err(|cause| unread(cause.to_string()))?;
    body.map_err(|cause| unread(cause.to_string()))
}

/// Whether a page of ours, in this browser, had the form: else another site could put words into it that somebody then sends.
fn is_ours(request: &HttpRequest, fields: &[(String, String)]) -> bool {
    let token = fields.iter().find(|(name, _)| name == "csrf").map_or("", |(_, value)| value.as_str());
    request.extensions().get::<Seed>().is_some_and(|seed| seed.knows(token))
}

fn without_token(fields: Vec<(String, String)>) -> Vec<(String, String)> {
    fields.into_iter().filter(|(name, _)| name != "csrf").collect()
}

/// The page that the form stands on: the one it was sent from, unless that was an answer to the form itself.
fn page_of(request: &HttpRequest) -> String {
    let action = request.path();
    let from = request.headers().get(header::REFERER).and_then(|value| value.to_str().ok()).and_then(|value| url::Url::parse(value).ok());
    if let Some(from) = from.filter(|from| from.path() != action) {
        return from[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    }
    let has_page_above = action.ends_with("/apply/draft") || PAGES_OF_FORMS.iter().any(|prefix| action.starts_with(prefix));
    let page = match action.rsplit_once('/') {
        _ if action.starts_with(SECRET) => SECRET,
        Some((page, _)) if has_page_above => page,
        Some(_) | None => action,
    };
    page.to_owned()
}
