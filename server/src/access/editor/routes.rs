//! The editor's URLs. For everybody but an admin they do not exist.

use actix_web::web::{FormConfig, ServiceConfig, get, post, resource};

use super::{json, overview, parts, publish};

/// Wires them; those with fixed words before those with names.
pub(in super::super) fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/models/{id}/form", get().to(overview::form))
        .route("/admin/models/{id}/form.json", get().to(json::file))
        .route("/admin/models/{id}/form/start", post().to(overview::start))
        .route("/admin/models/{id}/form/discard", post().to(overview::discard))
        .route("/admin/models/{id}/form/preview", get().to(publish::preview))
        .route("/admin/models/{id}/form/compare", get().to(publish::compare))
        .route("/admin/models/{id}/form/publish", post().to(publish::publish))
        .service(
            resource("/admin/models/{id}/form/json")
                .app_data(FormConfig::default().limit(json::JSON_FORM_BYTES_MAX))
                .route(get().to(json::editor))
                .route(post().to(json::replace)),
        )
        .route("/admin/models/{id}/form/versions/{version}", get().to(publish::version))
        .route("/admin/models/{id}/form/new/{part}", get().to(parts::fresh))
        .route("/admin/models/{id}/form/new/{part}", post().to(parts::add))
        .route("/admin/models/{id}/form/{part}/{name}", get().to(parts::part))
        .route("/admin/models/{id}/form/{part}/{name}", post().to(parts::save))
        .route("/admin/models/{id}/form/{part}/{name}/move", post().to(parts::shift))
        .route("/admin/models/{id}/form/{part}/{name}/remove", post().to(parts::remove));
}
