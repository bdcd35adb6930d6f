//! Refusals in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`.

use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError, http::header};
use serde_json::{Value, json};

use super::super::fault::Fault;
use crate::config::Config;
use crate::error::{Error, Mend};

/// What a fault is in OpenAI's words.
struct Words {
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
}

/// The answer to a request that is refused. `config`: where the portal is, for the address at which a refusal can be mended.
pub(super) fn refuse(fault: &Fault, config: &Config) -> HttpResponse {
    let mut response = status(fault);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Fault::Portal(error) = fault
        && let Some(retry_after_s) = error.retry_after_s()
    {
        response.insert_header((header::RETRY_AFTER, retry_after_s.to_string()));
    }
    if !worth_retrying(fault) {
        // Clients send 409 and 5xx again by themselves; this tells them that it would be for nothing.
        response.insert_header(("x-should-retry", "false"));
    }
    if let Fault::Portal(Error::SignedOut) = fault {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    response.json(body(fault, config))
}

/// The same words without the answer around them: an error in the middle of a stream.
pub(super) fn body(fault: &Fault, config: &Config) -> Value {
    if let Fault::Portal(Error::Internal(cause)) = fault {
        tracing::error!(%cause, "a completion failed");
    }
    let Words { message, kind, param, code } = words(fault, config);
    json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
}

fn status(fault: &Fault) -> HttpResponseBuilder {
    match fault {
        Fault::ContextExceeded(_) | Fault::Portal(Error::Invalid(_)) => HttpResponse::BadRequest(),
        Fault::CannotRun(_) => HttpResponse::ServiceUnavailable(),
        Fault::Portal(Error::Forbidden(refusal)) if is_about_the_key(refusal.code) => HttpResponse::Unauthorized(),
        Fault::Portal(error) => HttpResponse::build(error.status_code()),
    }
}

fn worth_retrying(fault: &Fault) -> bool {
    match fault {
        Fault::ContextExceeded(_) | Fault::CannotRun(_) => false,
        Fault::Portal(Error::Limited { .. } | Error::Busy { .. } | Error::Unavailable(_) | Error::Internal(_)) => true,
        Fault::Portal(Error::NotFound(_) | Error::SignedOut | Error::Forbidden(_)) => false,
        Fault::Portal(Error::Conflict(_) | Error::Stale(_) | Error::Invalid(_)) => false,
    }
}

/// Refusals of who one is, not of what one may: OpenAI's clients raise `AuthenticationError` for those.
fn is_about_the_key(code: &str) -> bool {
    matches!(code, "token_invalid" | "signed_out")
}

fn words(fault: &Fault, config: &Config) -> Words {
    const INVALID_REQUEST: &str = "invalid_request_error";
    let words = |message: String, kind, code| Words { message, kind, param: None, code };
    match fault {
        Fault::ContextExceeded(message) => {
            Words { param: Some("prompt".into()), ..words(message.clone(), INVALID_REQUEST, Some("context_length_exceeded")) }
        }
        Fault::CannotRun(message) => words(message.clone(), "server_error", Some("model_not_runnable")),
        Fault::Portal(error) => match error {
            Error::NotFound(_) => Words {
                param: Some("model".into()),
                ..words(
                    "There is no such model here, or it is not open to you; GET /v1/models lists those you may use.".into(),
                    INVALID_REQUEST,
                    Some("model_not_found"),
                )
            },
            Error::SignedOut => words(
                format!(
                    "Send an access token with the scope 'api' as 'Authorization: Bearer slc_...'; make one at {}",
                    config.url_of("/account/tokens")
                ),
                INVALID_REQUEST,
                Some("invalid_api_key"),
            ),
            Error::Forbidden(refusal) => {
                let about_key = is_about_the_key(refusal.code);
                words(
                    with_next_step(&refusal.message, refusal.mend.as_ref(), config),
                    if about_key { INVALID_REQUEST } else { "permission_error" },
                    Some(if about_key { "invalid_api_key" } else { refusal.code }),
                )
            }
            Error::Invalid(faults) => Words {
                param: faults.first().map(|fault| fault.field.to_string()),
                ..words(
                    faults.iter().map(|fault| format!("'{}' {}", fault.field, fault.message)).collect::<Vec<_>>().join("; "),
                    INVALID_REQUEST,
                    None,
                )
            },
            Error::Limited { retry_after_s } => words(
                format!("You have as many requests running and waiting as one account may; try again in {retry_after_s} s."),
                "rate_limit_error",
                Some("rate_limit_exceeded"),
            ),
            Error::Busy { why, .. } => words(why.to_string(), "server_error", Some("engine_busy")),
            Error::Conflict(clash) | Error::Stale(clash) => {
                words(with_next_step(&clash.why, clash.mend.as_ref(), config), "server_error", Some(error.code()))
            }
            Error::Unavailable(why) => words(why.to_string(), "server_error", Some(error.code())),
            Error::Internal(_) => {
                words("Something broke on our side; it has been written to the log.".into(), "server_error", Some("internal"))
            }
        },
    }
}

/// OpenAI's form has no place for the next step: it stands behind the sentence, with its address.
fn with_next_step(message: &str, mend: Option<&Mend>, config: &Config) -> String {
    match mend {
        Some(mend) => format!("{message}{} {}: {}", if message.ends_with('.') { "" } else { "." }, mend.label, config.url_of(&mend.path)),
        None => message.to_owned(),
    }
}
