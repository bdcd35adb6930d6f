//! Applications, the desk and grants for programs: each operation calls the verb that the page calls, and has no rules of its own.

mod blocks;
mod bulk;
mod consent;
mod deciding;
mod desk;
mod grants;
mod mine;
mod renewals;
mod rules;
mod turnaround;
mod view;
mod writing;

use actix_web::web::{ServiceConfig, get, post, put};

use super::editor::api as form;

/// The room's part of the document.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    turnaround::of_model,
    writing::form,
    writing::save,
    writing::submit,
    mine::list,
    mine::one,
    mine::withdraw,
    mine::comment,
    mine::appeal,
    desk::list,
    desk::views,
    desk::case,
    deciding::claim,
    deciding::release,
    deciding::comment,
    deciding::check,
    deciding::changes,
    deciding::approve,
    deciding::preview_approval,
    deciding::decline,
    deciding::preview_decline,
    deciding::undo,
    bulk::act,
    bulk::preview,
    grants::mine,
    grants::one,
    grants::close,
    renewals::ask,
    renewals::withdraw,
    consent::show,
    consent::agree,
    renewals::list,
    renewals::one,
    renewals::approve,
    renewals::decline,
    grants::all,
    grants::any,
    grants::revoke,
    grants::suspend,
    grants::reinstate,
    grants::confirm,
    grants::reject,
    blocks::in_force,
    blocks::of_person,
    blocks::set,
    blocks::lift,
    rules::rules,
    rules::set_gate,
    rules::set_policy,
    rules::announce,
    form::form,
    form::version,
    form::replace,
    form::compared,
    form::publish,
    form::discard,
))]
pub struct Operations;

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/models/{org}/{name}/turnaround", get().to(turnaround::of_model))
        .route("/api/v1/models/{org}/{name}/form", get().to(writing::form))
        .route("/api/v1/models/{org}/{name}/application", put().to(writing::save))
        .route("/api/v1/models/{org}/{name}/application", post().to(writing::submit))
        .route("/api/v1/applications", get().to(mine::list))
        .route("/api/v1/applications/{id}", get().to(mine::one))
        .route("/api/v1/applications/{id}/withdraw", post().to(mine::withdraw))
        .route("/api/v1/applications/{id}/comment", post().to(mine::comment))
        .route("/api/v1/applications/{id}/appeal", post().to(mine::appeal))
        .route("/api/v1/review", get().to(desk::list))
        .route("/api/v1/review/views", get().to(desk::views))
        .route("/api/v1/review/bulk", post().to(bulk::act))
        .route("/api/v1/review/bulk/preview", post().to(bulk::preview))
        .route("/api/v1/review/renewals", get().to(renewals::list))
        .route("/api/v1/review/renewals/{id}", get().to(renewals::one))
        .route("/api/v1/review/renewals/{id}/approve", post().to(renewals::approve))
        .route("/api/v1/review/renewals/{id}/decline", post().to(renewals::decline))
        .route("/api/v1/review/grants", get().to(grants::all))
        .route("/api/v1/review/grants/{id}", get().to(grants::any))
        .route("/api/v1/review/grants/{id}/revoke", post().to(grants::revoke))
        .route("/api/v1/review/grants/{id}/suspend", post().to(grants::suspend))
        .route("/api/v1/review/grants/{id}/reinstate", post().to(grants::reinstate))
        .route("/api/v1/review/grants/{id}/confirm", post().to(grants::confirm))
        .route("/api/v1/review/grants/{id}/reject", post().to(grants::reject))
        .route("/api/v1/review/{id}", get().to(desk::case))
        .route("/api/v1/review/{id}/claim", post().to(deciding::claim))
        .route("/api/v1/review/{id}/release", post().to(deciding::release))
        .route("/api/v1/review/{id}/comment", post().to(deciding::comment))
        .route("/api/v1/review/{id}/check", put().to(deciding::check))
        .route("/api/v1/review/{id}/changes", post().to(deciding::changes))
        .route("/api/v1/review/{id}/approve", post().to(deciding::approve))
        .route("/api/v1/review/{id}/decline", post().to(deciding::decline))
        .route("/api/v1/review/{id}/approve/preview", post().to(deciding::preview_approval))
        .route("/api/v1/review/{id}/decline/preview", post().to(deciding::preview_decline))
        .route("/api/v1/review/{id}/undo", post().to(deciding::undo))
        .route("/api/v1/grants", get().to(grants::mine))
        .route("/api/v1/grants/{id}", get().to(grants::one))
        .route("/api/v1/grants/{id}/renew", post().to(renewals::ask))
        .route("/api/v1/grants/{id}/renew/withdraw", post().to(renewals::withdraw))
        .route("/api/v1/grants/{id}/consent", get().to(consent::show))
        .route("/api/v1/grants/{id}/consent", post().to(consent::agree))
        .route("/api/v1/grants/{id}/close", post().to(grants::close))
        .route("/api/v1/admin/blocks", get().to(blocks::in_force))
        .route("/api/v1/admin/people/{id}/blocks", get().to(blocks::of_person))
        .route("/api/v1/admin/people/{id}/blocks", post().to(blocks::set))
        .route("/api/v1/admin/people/{id}/blocks/{block}/lift", post().to(blocks::lift))
        .route("/api/v1/admin/models/{id}/access", get().to(rules::rules))
        .route("/api/v1/admin/models/{id}/gate", put().to(rules::set_gate))
        .route("/api/v1/admin/models/{id}/policy", put().to(rules::set_policy))
        .route("/api/v1/admin/models/{id}/licence-change", post().to(rules::announce))
        .route("/api/v1/admin/models/{id}/form", get().to(form::form))
        .route("/api/v1/admin/models/{id}/form/versions/{version}", get().to(form::version))
        .route("/api/v1/admin/models/{id}/form/draft", put().to(form::replace))
        .route("/api/v1/admin/models/{id}/form/compare", get().to(form::compared))
        .route("/api/v1/admin/models/{id}/form/publish", post().to(form::publish))
        .route("/api/v1/admin/models/{id}/form/discard", post().to(form::discard));
}
