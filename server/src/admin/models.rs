//! Models and their gates.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;

use crate::accounts::Admin;
use crate::catalog::{self, Gate, Model};
use crate::error::Error;
use crate::http::page::page;
use crate::http::{Form, Frame, filters, see_other};
use crate::ids::ModelId;
use crate::portal::Portal;

/// Models on the page.
const MODELS_MAX: i64 = 1_000;

#[derive(Template)]
#[template(path = "admin/models.html")]
struct ModelsPage {
    frame: Frame,
    models: Vec<ModelRow>,
}

struct ModelRow {
    model: Model,
    /// Whether it has a page for others, or nothing but drafts.
    is_on_offer: bool,
}

/// `GET /admin/models`
pub(super) async fn models(portal: Data<Portal>, frame: Frame, _: Admin) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let models = catalog::list_all_models(&mut db, MODELS_MAX).await?;
    let ids: Vec<ModelId> = models.iter().map(|model| model.id).collect();
    let on_offer = catalog::main_releases(&mut db, &ids).await?;
    let models = models.into_iter().map(|model| ModelRow { is_on_offer: on_offer.contains_key(&model.id), model }).collect();
    page(&ModelsPage { frame, models })
}

#[derive(Deserialize)]
pub(super) struct GateForm {
    gate: String,
}

/// `POST /admin/models/{id}/gate`
pub(super) async fn gate(portal: Data<Portal>, by: Admin, id: Path<ModelId>, Form(sent): Form<GateForm>) -> Result<HttpResponse, Error> {
    let gate: Gate = sent.gate.parse()?;
    let told = match (catalog::change_gate(&portal, &by, *id, gate).await?, gate) {
        (false, _) => "That was its gate already; nothing was changed.",
        (true, Gate::Open) => "Changed. Everybody can now download the model.",
        (true, Gate::Application) => "Changed. Downloads and the playground now need an approved application.",
    };
    Ok(see_other("/admin/models", Some(told)))
}
