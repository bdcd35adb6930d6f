//! The pages of the room: the way in (`entry`), one's own account (`own`, `mail`, `lists`), and signing programs in (`device`).

mod device;
mod entry;
mod lists;
mod mail;
mod own;

use actix_web::web::{ServiceConfig, get, post};

use super::api;

/// Every URL of this room.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(api::configure)
        .route("/sign-up", get().to(entry::sign_up_page))
        .route("/sign-up", post().to(entry::sign_up))
        .route("/sign-in", get().to(entry::sign_in_page))
        .route("/sign-in", post().to(entry::sign_in))
        .route("/sign-in/link", get().to(entry::link_page))
        .route("/sign-in/link", post().to(entry::sign_in_by_link))
        .route("/sign-out", post().to(entry::sign_out))
        .route("/verify", get().to(entry::verify_page))
        .route("/verify", post().to(entry::verify))
        .route("/forgot", get().to(entry::forgot_page))
        .route("/forgot", post().to(entry::forgot))
        .route("/reset", get().to(entry::reset_page))
        .route("/reset", post().to(entry::reset))
        .route("/oauth/device", post().to(device::codes))
        .route("/oauth/token", post().to(device::token))
        .route("/oauth/revoke", post().to(device::revoke))
        .route("/device", get().to(device::device_page))
        .route("/device/approve", post().to(device::approve))
        .route("/device/deny", post().to(device::deny))
        .route("/account", get().to(own::profile_page))
        .route("/account/name", post().to(own::rename))
        .route("/account/password", post().to(own::change_password))
        .route("/account/mail", get().to(mail::mail_page))
        .route("/account/mail", post().to(mail::save_preferences))
        .route("/account/sessions.{ending}", get().to(lists::sessions))
        .route("/account/sessions", get().to(own::sessions_page))
        .route("/account/sessions/end-others", post().to(own::end_other_sessions))
        .route("/account/sessions/{id}/end", post().to(own::end_session))
        .route("/account/tokens.{ending}", get().to(lists::tokens))
        .route("/account/tokens", get().to(own::tokens_page))
        .route("/account/tokens", post().to(own::make_token))
        .route("/account/tokens/{id}/revoke", post().to(own::revoke_token));
}
