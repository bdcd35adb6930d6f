//! Models and their gates.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;

use crate::access::{self, Counts};
use crate::accounts::Admin;
use crate::catalog::{self, Gate, Model};
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
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

/// `POST /admin/models/{id}/gate`: at once, unless it would open a model, which is asked about first.
pub(super) async fn gate(portal: Data<Portal>, by: Admin, id: Path<ModelId>, Form(sent): Form<GateForm>) -> Result<HttpResponse, Error> {
    let gate: Gate = sent.gate.parse()?;
    let is_gated = catalog::find_model_by_id(&mut *portal.db.acquire().await?, *id).await?.gate == Gate::Application;
    if gate == Gate::Open && is_gated {
        return Ok(see_other(&format!("/admin/models/{id}/open"), None));
    }
    let told = match catalog::change_gate(&portal, &by, *id, gate).await? {
        false => "That was its gate already; nothing was changed.",
        true => "Changed. Downloads and the playground now need an approved application.",
    };
    Ok(see_other("/admin/models", Some(told)))
}

#[derive(Template)]
#[template(path = "admin/opening.html")]
struct OpeningPage {
    frame: Frame,
    model: Model,
    counts: Counts,
    faults: Vec<FieldError>,
}

/// `GET /admin/models/{id}/open`
pub(super) async fn open_page(portal: Data<Portal>, frame: Frame, _: Admin, id: Path<ModelId>) -> Result<HttpResponse, Error> {
    page(&opening_page(&portal, frame, *id, vec![]).await?)
}

/// Errors: `Conflict` for a model that is open.
async fn opening_page(portal: &Portal, frame: Frame, id: ModelId, faults: Vec<FieldError>) -> Result<OpeningPage, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, id).await?;
    match model.gate {
        Gate::Application => {}
        Gate::Open => {
            return Err(Error::Conflict("this model is open to all already".into()).mended_by("/admin/models", "Go to the models"));
        }
    }
    let counts = access::counts_of_model(&mut db, id, portal.clock.now()).await?;
    Ok(OpeningPage { frame, model, counts, faults })
}

#[derive(Deserialize)]
pub(super) struct OpenForm {
    #[serde(default)]
    name: String,
}

/// `POST /admin/models/{id}/open`: opens a model whose name is typed, so that it is no other.
pub(super) async fn open(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    id: Path<ModelId>,
    Form(sent): Form<OpenForm>,
) -> Result<HttpResponse, Error> {
    let asked = opening_page(&portal, frame, *id, vec![]).await?;
    if !asked.model.full_name().eq_ignore_ascii_case(sent.name.trim()) {
        let faults = vec![FieldError::new("name", "this is not the name of this model")];
        return page_with_faults(&OpeningPage { faults, ..asked });
    }
    catalog::change_gate(&portal, &by, *id, Gate::Open).await?;
    Ok(see_other("/admin/models", Some("Changed. Everybody can now download the model.")))
}
