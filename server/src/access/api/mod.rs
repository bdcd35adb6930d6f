//! Applications, the desk and grants for programs: each operation calls the verb that the page calls, and has no rules of its own.

mod bulk;
mod deciding;
mod desk;
mod grants;
mod mine;
mod view;
mod writing;

use actix_web::web::{ServiceConfig, get, post, put};

/// The room's part of the document.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    writing::form,
    writing::save,
    writing::submit,
    mine::list,
    mine::one,
    mine::withdraw,
    mine::comment,
    mine::appeal,
    desk::list,
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
    grants::close,
    grants::all,
    grants::revoke,
    grants::suspend,
    grants::reinstate,
    grants::confirm,
    grants::reject,
))]
pub struct Operations;

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/models/{org}/{name}/form", get().to(writing::form))
        .route("/api/v1/models/{org}/{name}/application", put().to(writing::save))
        .route("/api/v1/models/{org}/{name}/application", post().to(writing::submit))
        .route("/api/v1/applications", get().to(mine::list))
        .route("/api/v1/applications/{id}", get().to(mine::one))
        .route("/api/v1/applications/{id}/withdraw", post().to(mine::withdraw))
        .route("/api/v1/applications/{id}/comment", post().to(mine::comment))
        .route("/api/v1/applications/{id}/appeal", post().to(mine::appeal))
        .route("/api/v1/review", get().to(desk::list))
        .route("/api/v1/review/bulk", post().to(bulk::act))
        .route("/api/v1/review/bulk/preview", post().to(bulk::preview))
        .route("/api/v1/review/grants", get().to(grants::all))
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
        .route("/api/v1/grants/{id}/close", post().to(grants::close));
}
