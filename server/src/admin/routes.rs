//! The room's URLs; each page stands in the file of its name.

use actix_web::web::{ServiceConfig, get, post};

use super::{
    api, erasure, grants, holdings, jobs, lists, models, outbox, outbox_files, overview, people, person, policy, record, record_files,
    releases, statistics, usage,
};

/// Wires the admin's pages. Every handler asks for an `Admin`, or for a `Reviewer` where it is about one person or one grant; for everybody
/// else the pages do not exist.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(api::configure)
        .route("/admin", get().to(overview::overview))
        .route("/admin/people", get().to(people::people))
        .route("/admin/people.{ending}", get().to(lists::people))
        .route("/admin/people/{id}", get().to(person::person))
        .route("/admin/people/{id}/block", post().to(person::block))
        .route("/admin/people/{id}/blocks/{block}/lift", post().to(person::lift))
        .route("/admin/people/{id}/erase", get().to(erasure::erase_page))
        .route("/admin/people/{id}/erase", post().to(erasure::erase))
        .route("/admin/people/{id}/role", post().to(people::role))
        .route("/admin/people/{id}/close", post().to(people::close))
        .route("/admin/people/{id}/reopen", post().to(people::reopen))
        .route("/admin/models.{ending}", get().to(lists::models))
        .route("/admin/models", get().to(models::models))
        .route("/admin/models/{id}/gate", post().to(models::gate))
        .route("/admin/models/{id}/open", get().to(models::open_page))
        .route("/admin/models/{id}/open", post().to(models::open))
        .route("/admin/models/{id}/licence-change", post().to(policy::announce_licence))
        .route("/admin/models/{id}/policy", post().to(policy::set))
        .route("/admin/models/{id}.{ending}", get().to(lists::releases))
        .route("/admin/models/{id}", get().to(releases::of_model))
        .route("/admin/releases/{id}", get().to(releases::release))
        .route("/admin/releases/{id}/publish", post().to(releases::publish))
        .route("/admin/releases/{id}/discard", post().to(releases::discard))
        .route("/admin/releases/{id}/yank", post().to(releases::yank))
        .route("/admin/releases/{id}/restore", post().to(releases::restore))
        .route("/admin/grants.{ending}", get().to(lists::grants))
        .route("/admin/grants", get().to(grants::grants))
        .route("/admin/grants/{id}", get().to(grants::grant))
        .route("/admin/grants/{id}/revoke", post().to(grants::revoke))
        .route("/admin/grants/{id}/suspend", post().to(grants::suspend))
        .route("/admin/grants/{id}/reinstate", post().to(grants::reinstate))
        .route("/admin/grants/{id}/confirm", post().to(grants::confirm))
        .route("/admin/grants/{id}/reject", post().to(grants::reject))
        .route("/admin/audit", get().to(record::record))
        .route("/admin/audit.{ending}", get().to(record_files::file))
        .route("/admin/jobs", get().to(jobs::jobs))
        .route("/admin/jobs.{ending}", get().to(lists::jobs))
        .route("/admin/statistics", get().to(statistics::statistics))
        .route("/admin/statistics/{file}", get().to(statistics::file))
        .route("/admin/store", get().to(holdings::store))
        .route("/admin/store/faulty.{ending}", get().to(lists::faulty))
        .route("/admin/store/rounds.{ending}", get().to(lists::rounds))
        .route("/admin/usage", get().to(usage::downloaded))
        .route("/admin/usage.{ending}", get().to(usage::downloaded_as_file))
        .route("/admin/usage/generations.{ending}", get().to(lists::generations))
        .route("/admin/usage/generations", get().to(usage::generated))
        .route("/admin/mail", get().to(outbox::mails))
        .route("/admin/mail.{ending}", get().to(outbox_files::file))
        .route("/admin/mail/retry", post().to(outbox::retry_all))
        .route("/admin/mail/{id}", get().to(outbox::mail))
        .route("/admin/mail/{id}/retry", post().to(outbox::retry));
}
