//! The room's URLs; each page stands in the file of its name.

use actix_web::middleware::from_fn;
use actix_web::web::{ServiceConfig, get, post, resource};

use super::{
    api, application_page, apply_page, bulk, case_actions, case_page, editor, grant_routes, hub_requests, lists, queue_page,
    turnaround_page,
};

/// Wires the pages of applicants and reviewers, and the Hub's interface for access requests.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(api::configure)
        .configure(editor::configure)
        .configure(grant_routes::configure)
        .route("/turnaround", get().to(turnaround_page::turnaround))
        .route("/turnaround.{ending}", get().to(turnaround_page::turnaround_file))
        .route("/applications.{ending}", get().to(lists::applications))
        .route("/applications", get().to(application_page::applications))
        .route("/applications/{id}", get().to(application_page::application))
        .route("/applications/{id}/withdraw", post().to(application_page::withdraw))
        .route("/applications/{id}/comment", post().to(application_page::comment))
        .route("/applications/{id}/appeal", post().to(application_page::appeal))
        .route("/review.{ending}", get().to(lists::queue))
        .route("/review", get().to(queue_page::queue))
        .route("/review/bulk", get().to(bulk::to_queue))
        .route("/review/bulk/do", get().to(bulk::to_queue))
        .route("/review/bulk", post().to(bulk::preview))
        .route("/review/bulk/do", post().to(bulk::act))
        .route("/review/{id}", get().to(case_page::case))
        .route("/review/{id}/seen", post().to(case_actions::seen))
        .route("/review/{id}/claim", post().to(case_actions::claim))
        .route("/review/{id}/release", post().to(case_actions::release))
        .route("/review/{id}/comment", post().to(case_actions::comment))
        .route("/review/{id}/check", post().to(case_actions::check))
        .route("/review/{id}/changes", post().to(case_actions::changes))
        .route("/review/{id}/approve", post().to(case_actions::approve))
        .route("/review/{id}/decline", post().to(case_actions::decline))
        .route("/review/{id}/undo", post().to(case_actions::undo))
        .route("/review/{id}/revoke", post().to(case_actions::revoke))
        .configure(hub_interface)
        .route("/{org}/{name}/apply", get().to(apply_page::apply_page))
        .route("/{org}/{name}/apply", post().to(apply_page::submit))
        .route("/{org}/{name}/apply/draft", post().to(apply_page::save_draft));
}

fn hub_interface(cfg: &mut ServiceConfig) {
    let in_words = || from_fn(hub_requests::refused_in_words);
    cfg.service(resource("/api/models/{org}/{name}/user-access-request/handle").wrap(in_words()).route(post().to(hub_requests::handle)))
        .service(resource("/api/models/{org}/{name}/user-access-request/grant").wrap(in_words()).route(post().to(hub_requests::grant)))
        .service(resource("/api/models/{org}/{name}/user-access-request/{status}").wrap(in_words()).route(get().to(hub_requests::list)));
}
