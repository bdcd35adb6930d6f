//! One's own account for programs: who one is, one's name, mails, sessions and tokens. The password and being forgotten are asked for on
//! pages alone: whoever has found a token shall not guess at the one or do the other.

mod me;
mod sessions;
mod tokens;

use actix_web::web::{ServiceConfig, delete, get, post, put};

pub use me::Person;

/// The room's part of the document.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    me::me,
    me::rename,
    me::mails,
    me::choose_mails,
    sessions::sessions,
    sessions::end_session,
    sessions::end_sessions,
    tokens::tokens,
    tokens::make_token,
    tokens::revoke_token,
    tokens::leaked
))]
pub struct Operations;

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/me", get().to(me::me))
        .route("/api/v1/me/name", put().to(me::rename))
        .route("/api/v1/me/mails", get().to(me::mails))
        .route("/api/v1/me/mails", put().to(me::choose_mails))
        .route("/api/v1/sessions", get().to(sessions::sessions))
        .route("/api/v1/sessions", delete().to(sessions::end_sessions))
        .route("/api/v1/sessions/{id}", delete().to(sessions::end_session))
        .route("/api/v1/tokens", get().to(tokens::tokens))
        .route("/api/v1/tokens", post().to(tokens::make_token))
        .route("/api/v1/tokens/leaked", post().to(tokens::leaked))
        .route("/api/v1/tokens/{id}", delete().to(tokens::revoke_token));
}
