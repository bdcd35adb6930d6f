//! From [`Error`] to what is sent: problem+json (RFC 9457) for programs, a page for people. The only status codes.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError};
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
            Error::Conflict(why) | Error::Stale(why) => ("That did not work", sentence(why), None, vec![]),
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

fn sentence(text: &str) -> String {
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
    if problem.status == StatusCode::UNAUTHORIZED && request.method() == actix_web::http::Method::GET {
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
        mend: problem.mend,
    };
    let body = page.render().map_err(Error::internal)?;
    let mut response = html(HttpResponse::build(problem.status), body);
    if let Some(wait) = refused.headers().get(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, wait.clone());
    }
    Ok(ServiceResponse::new(request, response))
}
