//! Running the portal with programs: people, releases, the record, mails, usage, statistics, jobs. Each calls the verb that the page calls.

mod mails;
mod people;
mod record;
mod releases;
mod running;
mod statistics;
mod usage;

use actix_web::web::{ServiceConfig, get, post, put};

/// The room's part of the document.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    people::list_people,
    people::one,
    people::role,
    people::close,
    people::reopen,
    people::erase,
    releases::models,
    releases::of_model,
    releases::one,
    releases::publish,
    releases::discard,
    releases::yank,
    releases::restore,
    record::record,
    mails::mails,
    mails::one,
    mails::retry,
    mails::retry_all,
    usage::usage_of_models,
    usage::totals,
    usage::generations,
    statistics::year,
    running::jobs,
    running::store
))]
pub struct Operations;

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/admin/people", get().to(people::list_people))
        .route("/api/v1/admin/people/{id}", get().to(people::one))
        .route("/api/v1/admin/people/{id}/role", put().to(people::role))
        .route("/api/v1/admin/people/{id}/close", post().to(people::close))
        .route("/api/v1/admin/people/{id}/reopen", post().to(people::reopen))
        .route("/api/v1/admin/people/{id}/erase", post().to(people::erase))
        .route("/api/v1/admin/models", get().to(releases::models))
        .route("/api/v1/admin/models/{id}/releases", get().to(releases::of_model))
        .route("/api/v1/admin/releases/{id}", get().to(releases::one))
        .route("/api/v1/admin/releases/{id}/publish", post().to(releases::publish))
        .route("/api/v1/admin/releases/{id}/discard", post().to(releases::discard))
        .route("/api/v1/admin/releases/{id}/yank", post().to(releases::yank))
        .route("/api/v1/admin/releases/{id}/restore", post().to(releases::restore))
        .route("/api/v1/admin/audit", get().to(record::record))
        .route("/api/v1/admin/mails", get().to(mails::mails))
        .route("/api/v1/admin/mails/retry", post().to(mails::retry_all))
        .route("/api/v1/admin/mails/{id}", get().to(mails::one))
        .route("/api/v1/admin/mails/{id}/retry", post().to(mails::retry))
        .route("/api/v1/admin/usage", get().to(usage::usage_of_models))
        .route("/api/v1/admin/usage/totals", get().to(usage::totals))
        .route("/api/v1/admin/usage/generations", get().to(usage::generations))
        .route("/api/v1/admin/statistics", get().to(statistics::year))
        .route("/api/v1/admin/jobs", get().to(running::jobs))
        .route("/api/v1/admin/store", get().to(running::store));
}
