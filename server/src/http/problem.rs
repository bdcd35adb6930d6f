//! From [`Error`] to what is sent: problem+json (RFC 9457) for programs, a page for people. The only status codes.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use askama::Template;

use super::page::{Frame, html};
use super::when;
use crate::error::{Error, FieldError, Mend};

/// What went wrong, kept beside the answer so that the middleware can draw a page of it.
#[derive(Clone)]
struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    mend: Option<Mend>,
    faults: Vec<FieldError>,
}

impl Error {
    /// The stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NotFound(_) => "not_found",
            Error::SignedOut => "signed_out",
            Error::Forbidden(refusal) => refusal.code,
            Error::Conflict(_) => "conflict",
            Error::Stale(_) => "stale",
            Error::Invalid(_) => "invalid",
            Error::Limited { .. } => "rate_limited",
            Error::Busy { .. } => "busy",
            Error::Unavailable(_) => "unavailable",
            Error::Internal(_) => "internal",
        }
    }

    /// When it makes sense to come back, where that is known.
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            Error::Limited { retry_after_s } | Error::Busy { retry_after_s, .. } => Some(*retry_after_s),
            Error::NotFound(_)
            | Error::SignedOut
            | Error::Forbidden(_)
            | Error::Conflict(_)
            | Error::Stale(_)
            | Error::Invalid(_)
            | Error::Unavailable(_)
            | Error::Internal(_) => None,
        }
    }

    fn problem(&self) -> Problem {
        let (title, detail, mend, faults) = match self {
            Error::NotFound(what) => ("Not found", format!("There is no such {what} here, or it is not open to you."), None, vec![]),
            Error::SignedOut => {
                ("Sign in first", "This needs an account.".into(), Some(Mend { path: "/sign-in".into(), label: "Sign in" }), vec![])
            }
            Error::Forbidden(refusal) => ("Not allowed", refusal.message.clone(), refusal.mend.clone(), vec![]),
            Error::Conflict(clash) | Error::Stale(clash) => ("That did not work", sentence(&clash.why), clash.mend.clone(), vec![]),
            Error::Invalid(faults) => (
                "That cannot be accepted",
                faults.iter().map(|f| format!("{}: {}", f.field, f.message)).collect::<Vec<_>>().join("; "),
                None,
                faults.clone(),
            ),
            Error::Limited { retry_after_s } => {
                ("Too many requests", format!("Please try again in {}.", when::wait(*retry_after_s)), None, vec![])
            }
            Error::Busy { why, .. } => ("Busy right now", sentence(why), None, vec![]),
            Error::Unavailable(why) => ("Not available right now", sentence(why), None, vec![]),
            Error::Internal(_) => {
                ("Something broke on our side", "It has been written to the log. Nothing you sent was half done.".into(), None, vec![])
            }
        };
        Problem { status: self.status_code(), title, detail, mend, faults }
    }
}

/// With a capital at its beginning and a stop at its end.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::SignedOut => StatusCode::UNAUTHORIZED,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::Conflict(_) | Error::Stale(_) => StatusCode::CONFLICT,
            Error::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Error::Busy { .. } | Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Error::Internal(cause) = self {
            tracing::error!(error = chain(cause.as_ref()), "internal error");
        }
        let problem = self.problem();
        let mut response = HttpResponse::build(problem.status);
        response.content_type("application/problem+json").insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some(retry_after_s) = self.retry_after_s() {
            response.insert_header((header::RETRY_AFTER, retry_after_s.to_string()));
        }
        let mut body = serde_json::json!({
            "type": "about:blank", "title": problem.title, "status": problem.status.as_u16(), "code": self.code(), "detail": problem.detail,
        });
        if let Some(mend) = &problem.mend {
            body["mend"] = serde_json::json!({ "path": mend.path, "label": mend.label });
        }
        if !problem.faults.is_empty() {
            body["errors"] = serde_json::json!(problem.faults);
        }
        let mut response = response.body(body.to_string());
        response.extensions_mut().insert(problem);
        response
    }
}

/// What an answer refuses with, if it is a refusal of ours: the sentence, and the next step.
pub fn told(answer: &HttpResponse<impl MessageBody>) -> Option<(String, Option<Mend>)> {
    answer.extensions().get::<Problem>().map(|problem| (problem.detail.clone(), problem.mend.clone()))
}

fn chain(cause: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(cause), |cause| cause.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    title: &'static str,
    status: u16,
    detail: String,
    mend: Option<Mend>,
}

/// Draws problems as pages for browsers; sends people who have to sign in to the sign-in page and back.
pub async fn pages_for_people(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let person =
        request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    let answer = next.call(request).await?.map_into_boxed_body();
    let problem = answer.response().extensions().get::<Problem>().cloned();
    let Some(problem) = problem.filter(|_| person) else {
        return Ok(answer);
    };
    let (request, refused) = answer.into_parts();
    if problem.status == StatusCode::UNAUTHORIZED && request.method() == Method::GET {
        let then = percent_encoding::utf8_percent_encode(
            request.uri().path_and_query().map_or("/", |path| path.as_str()),
            percent_encoding::NON_ALPHANUMERIC,
        )
        .to_string();
        return Ok(ServiceResponse::new(request, super::page::see_other(&format!("/sign-in?then={then}"), None)));
    }
    let page = ErrorPage {
        frame: Frame::of(&request),
        title: problem.title,
        status: problem.status.as_u16(),
        detail: problem.detail,
        mend: problem.mend.or_else(|| way_back(&request, problem.status)),
    };
    let body = page.render().map_err(Error::internal)?;
    let mut response = html(HttpResponse::build(problem.status), body);
    if let Some(wait) = refused.headers().get(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, wait.clone());
    }
    Ok(ServiceResponse::new(request, response))
}

/// The way on where a refusal names none: the page of ours that its reader came from; else the page without what cannot be read of its
/// address, or the page that the form which was sent belongs to, which is the nearest one above it.
fn way_back(request: &HttpRequest, status: StatusCode) -> Option<Mend> {
    let is_form = request.method() == Method::POST;
    let came_from = request.headers().get(header::REFERER).and_then(|from| own_path(from.to_str().ok()?, request.headers()));
    if let Some(path) = came_from.filter(|path| is_form || path != request.path()) {
        return Some(Mend { path, label: "Back to where you were" });
    }
    if !is_form && status == StatusCode::UNPROCESSABLE_ENTITY {
        return Some(Mend { path: request.path().to_owned(), label: "Open the page from its beginning" });
    }
    if !is_form || status == StatusCode::NOT_FOUND {
        return None;
    }
    let above = std::iter::successors(Some(request.path()), |path| path.rsplit_once('/').map(|(above, _)| above));
    let path = above.skip(1).find(|path| !path.is_empty() && request.resource_map().has_resource(path))?;
    Some(Mend { path: path.to_owned(), label: "Back to the page" })
}

/// The path of a page of this portal, as the browser named it; nothing for a page of somebody else.
fn own_path(page: &str, headers: &HeaderMap) -> Option<String> {
    let page = url::Url::parse(page).ok()?;
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let is_ours = match page.port() {
        Some(port) => host.eq_ignore_ascii_case(&format!("{}:{port}", page.host_str()?)),
        None => host.eq_ignore_ascii_case(page.host_str()?),
    };
    // Two slashes would begin the address of another site.
    let is_path = page.path().starts_with('/') && !page.path().starts_with("//");
    (is_ours && is_path).then(|| page[url::Position::BeforePath..url::Position::AfterQuery].to_owned())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn back(request: TestRequest, status: StatusCode) -> Option<String> {
        way_back(&request.insert_header((header::HOST, "sluice.example:8443")).to_http_request(), status).map(|mend| mend.path)
    }

    #[test]
    fn the_way_back_leads_to_pages_of_ours_alone() {
        for (from, path) in [
            ("https://sluice.example:8443/review?view=mine#x", Some("/review?view=mine")),
            ("https://sluice.example/review", None),
            ("https://elsewhere.example:8443/review", None),
            ("https://sluice.example:8443//elsewhere.example/", None),
            ("https://sluice.example:8443", Some("/")),
            ("javascript:alert(1)", None),
            ("", None),
        ] {
            let request = || TestRequest::default().uri("/account").insert_header((header::REFERER, from));
            assert_eq!(back(request(), StatusCode::CONFLICT).as_deref(), path, "{from}");
            assert_eq!(back(request().method(Method::POST), StatusCode::CONFLICT).as_deref(), path, "{from}");
        }
        let itself = TestRequest::default().uri("/review").insert_header((header::REFERER, "https://sluice.example:8443/review"));
        assert_eq!(back(itself, StatusCode::CONFLICT), None, "there it would be refused again");
    }
}
