//! Running the portal with programs: people, the record, mails, usage. Each calls the verb that the page calls.

mod mails;
mod people;
mod record;
mod usage;

use actix_web::web::{ServiceConfig, get, post, put};

/// The room's part of the document.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    people::list_people,
    people::role,
    people::close,
    people::reopen,
    record::record,
    mails::mails,
    mails::retry,
    usage::usage_of_models
))]
pub struct Operations;

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/admin/people", get().to(people::list_people))
        .route("/api/v1/admin/people/{id}/role", put().to(people::role))
        .route("/api/v1/admin/people/{id}/close", post().to(people::close))
        .route("/api/v1/admin/people/{id}/reopen", post().to(people::reopen))
        .route("/api/v1/admin/audit", get().to(record::record))
        .route("/api/v1/admin/mails", get().to(mails::mails))
        .route("/api/v1/admin/mails/{id}/retry", post().to(mails::retry))
        .route("/api/v1/admin/usage", get().to(usage::usage_of_models));
}

/// Nothing that has to be said.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NoWords, example = json!({}))]
pub(super) struct Nothing {}
