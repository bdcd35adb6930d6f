//! What is answered instead of what was asked for: a refusal in the Hub's shape, or the way to the right spelling.
//!
//! Clients read `X-Error-Code` to choose their exception, `X-Error-Message` as its text and print `X-HF-Warning` on stderr.
//! A HEAD has no body, so all is said in headers, in ASCII; the body has the same words as they were written. Browsers get the portal's own error page from the same [`Error`].

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};

use super::ascii::ascii;
use crate::accounts::Visitor;
use crate::catalog::Model;
use crate::config::Config;
use crate::error::{Error, Refusal};
use crate::http::allowance::{Spent, Standing};

/// The commit an answer speaks of.
pub(super) const X_REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
/// `topic; text`, printed by clients once per topic.
pub(super) const X_HF_WARNING: HeaderName = HeaderName::from_static("x-hf-warning");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const X_ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");

/// Not what was asked for.
#[derive(Debug)]
pub(super) enum Instead {
    /// No, for this reason.
    Refused(Box<Refused>),
    /// Ask there: a relative URL.
    Elsewhere(String),
}

/// A refusal as the Hub's clients understand it.
#[derive(Debug)]
pub(super) struct Refused {
    error: Error,
    code: Option<&'static str>,
    message: String,
    warning: Option<String>,
    commit: Option<String>,
    limits: Option<Standing>,
}

impl Instead {
    fn refused(error: Error, code: Option<&'static str>, message: String) -> Self {
        Instead::Refused(Box::new(Refused { error, code, message, warning: None, commit: None, limits: None }))
    }

    /// The token is malformed, unknown, expired or revoked. Clients know this refusal by its exact message.
    pub(super) fn bad_token(config: &Config) -> Self {
        let warning =
            format!("auth; This access token is unknown, expired or revoked. Make a new one: {}", config.url_of("/account/tokens"));
        Instead::Refused(Box::new(Refused {
            error: Error::SignedOut,
            code: None,
            message: "Invalid credentials in Authorization header".into(),
            warning: Some(warning),
            commit: None,
            limits: None,
        }))
    }

    /// Nobody is signed in where somebody has to be.
    pub(super) fn signed_out() -> Self {
        Self::refused(Error::SignedOut, None, "Invalid username or password.".into())
    }

    /// The gate is closed to this visitor. Every such refusal carries the code `GatedRepo`: with any other, clients tell people
    /// to check their connection.
    pub(super) fn gated(config: &Config, visitor: &Visitor, model: &Model, refusal: Refusal) -> Self {
        let (error, message) = match visitor {
            Visitor::Anonymous | Visitor::BadToken => {
                let message = format!(
                    "Access to model {} is restricted. You must have access to it and be authenticated to access it. Please log in. \
                     Apply for access: {} Make an access token: {}",
                    model.full_name(),
                    config.url_of(&model.path()),
                    config.url_of("/account/tokens"),
                );
                (Error::SignedOut, message)
            }
            Visitor::Known { .. } => {
                let next = refusal.mend.as_ref().map(|mend| format!(" {}: {}", mend.label, config.url_of(&mend.path)));
                let message = format!("{}{}", refusal.message, next.unwrap_or_default());
                (Error::Forbidden(refusal), message)
            }
        };
        let warning = Some(format!("gated; {message}"));
        Instead::Refused(Box::new(Refused { error, code: Some("GatedRepo"), message, warning, commit: None, limits: None }))
    }

    /// The release is not given to anybody. With the code of the gate clients show the reason; as "disabled" they would hide it.
    pub(super) fn yanked(config: &Config, refusal: Refusal) -> Self {
        let next = refusal.mend.as_ref().map(|mend| format!(" {}: {}", mend.label, config.url_of(&mend.path)));
        let message = format!("{}{}", refusal.message, next.unwrap_or_default());
        let warning = Some(format!("yanked; {message}"));
        Instead::Refused(Box::new(Refused {
            error: Error::Forbidden(refusal),
            code: Some("GatedRepo"),
            message,
            warning,
            commit: None,
            limits: None,
        }))
    }

    /// The account has had what it may have. With the code of the gate clients that give up show why; those that wait read the headers.
    pub(super) fn limited(standing: &Standing, spent: Spent, why: String) -> Self {
        let error = Error::Limited { retry_after_s: standing.retry_after_s(spent) };
        let warning = Some(format!("quota; {why}"));
        let limits = Some(*standing);
        Instead::Refused(Box::new(Refused { error, code: Some("GatedRepo"), message: why, warning, commit: None, limits }))
    }

    /// There is no such model. Somebody without an account is told as the Hub tells it, because signing in might show more.
    pub(super) fn no_model(visitor: &Visitor) -> Self {
        match visitor {
            Visitor::Known { .. } => Self::refused(Error::NotFound("model"), Some("RepoNotFound"), "Repository not found".into()),
            Visitor::Anonymous | Visitor::BadToken => {
                Self::refused(Error::SignedOut, Some("RepoNotFound"), "Invalid username or password.".into())
            }
        }
    }

    /// The model has no such release. No commit is named: clients would remember it for this name.
    pub(super) fn no_revision(revision: &str) -> Self {
        Self::refused(Error::NotFound("release"), Some("RevisionNotFound"), format!("Invalid rev id: {revision}"))
    }

    /// The release `commit` has no such file or folder; naming the commit lets clients remember the absence.
    pub(super) fn no_entry(commit: &str, path: &str) -> Self {
        Instead::Refused(Box::new(Refused {
            error: Error::NotFound("file"),
            code: Some("EntryNotFound"),
            message: format!("Entry not found: {path}"),
            warning: None,
            commit: Some(commit.to_owned()),
            limits: None,
        }))
    }
}

impl From<Error> for Instead {
    fn from(error: Error) -> Self {
        let message = match &error {
            Error::Internal(_) => "Something broke on our side; it has been written to the log.".into(),
            other => other.to_string(),
        };
        Self::refused(error, None, message)
    }
}

impl From<sqlx::Error> for Instead {
    fn from(cause: sqlx::Error) -> Self {
        Error::from(cause).into()
    }
}

impl std::fmt::Display for Instead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Instead::Refused(refused) => f.write_str(&refused.message),
            Instead::Elsewhere(location) => write!(f, "see {location}"),
        }
    }
}

impl ResponseError for Instead {
    fn error_response(&self) -> HttpResponse {
        match self {
            Instead::Refused(refused) => refused.response(),
            Instead::Elsewhere(location) => HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, location.as_str())).finish(),
        }
    }
}

impl Refused {
    /// The portal's own answer to the error, dressed for the Hub's clients.
    fn response(&self) -> HttpResponse {
        // Clients print it to terminals, which obey what nobody can see.
        let message: String = self.message.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
        let body = serde_json::json!({ "error": message }).to_string();
        let mut response = self.error.error_response().set_body(actix_web::body::BoxBody::new(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_ERROR_MESSAGE, ascii(&self.message));
        if let Some(code) = self.code {
            headers.insert(X_ERROR_CODE, HeaderValue::from_static(code));
        }
        if let Some(warning) = &self.warning {
            headers.insert(X_HF_WARNING, ascii(warning));
        }
        if let Some(commit) = &self.commit {
            headers.insert(X_REPO_COMMIT, ascii(commit));
        }
        if let Some(standing) = &self.limits {
            tell_limits(headers, standing);
        }
        response
    }
}

/// What may still be had, and what of (draft-ietf-httpapi-ratelimit-headers; clients of the Hub read it too).
pub(super) fn tell_limits(headers: &mut HeaderMap, standing: &Standing) {
    headers.insert(RATE_LIMIT, ascii(&standing.rate_limit()));
    headers.insert(RATE_LIMIT_POLICY, ascii(&standing.policy()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_typed_cannot_break_a_header() {
        let refused = Instead::no_revision("v1\r\nSet-Cookie: a=b\u{e9}").error_response();
        assert_eq!(refused.headers().get(X_ERROR_MESSAGE).expect("a message"), "Invalid rev id: v1??Set-Cookie: a=be");
        assert!(!refused.headers().contains_key(X_REPO_COMMIT), "a commit here would be remembered for a name that does not exist");
    }
}
