//! How OAuth says no to a program (RFC 6749 §5.2): a word from a closed list, and a sentence.

use actix_web::HttpResponse;
use actix_web::http::header;

/// The refusals there are; RFC 6749 §5.2 and RFC 8628 §3.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the two standards, explained there")]
pub enum Refused {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    UnsupportedGrantType,
    AuthorizationPending,
    SlowDown,
    AccessDenied,
    ExpiredToken,
}

impl Refused {
    /// As it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::InvalidRequest => "invalid_request",
            Refused::InvalidClient => "invalid_client",
            Refused::InvalidGrant => "invalid_grant",
            Refused::InvalidScope => "invalid_scope",
            Refused::UnsupportedGrantType => "unsupported_grant_type",
            Refused::AuthorizationPending => "authorization_pending",
            Refused::SlowDown => "slow_down",
            Refused::AccessDenied => "access_denied",
            Refused::ExpiredToken => "expired_token",
        }
    }

    /// The answer. Always 400: the standard's 401 is for clients that have a secret, and ours have none.
    pub fn answer(self, description: &str) -> HttpResponse {
        HttpResponse::BadRequest()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(serde_json::json!({ "error": self.as_str(), "error_description": description }))
    }
}
