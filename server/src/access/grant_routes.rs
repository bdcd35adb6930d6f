//! The URLs about grants: their holder's pages, and the reviewer's of renewals and of what was stopped.

use actix_web::web::{ServiceConfig, get, post};

use super::{consent_page, holder, lists, renewals, stopped};

/// Wires them. `/review/renewals` and `/review/grants` are taken for no application's case only if it come first.
pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/grants.{ending}", get().to(lists::grants))
        .route("/grants/{id}", get().to(holder::grant))
        .route("/grants/{id}/renew", post().to(holder::renew))
        .route("/grants/{id}/renew/withdraw", post().to(holder::withdraw))
        .route("/grants/{id}/consent", get().to(consent_page::show))
        .route("/grants/{id}/consent", post().to(consent_page::agree))
        .route("/grants/{id}/close", post().to(holder::close))
        .route("/review/grants.{ending}", get().to(lists::stopped))
        .route("/review/grants", get().to(stopped::list))
        .route("/review/renewals.{ending}", get().to(lists::renewals))
        .route("/review/renewals", get().to(renewals::list))
        .route("/review/renewals/{id}", get().to(renewals::renewal))
        .route("/review/renewals/{id}/approve", post().to(renewals::approve))
        .route("/review/renewals/{id}/decline", post().to(renewals::decline));
}
