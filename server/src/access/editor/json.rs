//! The form as a file, for those who keep theirs in a repository: taken from here, and put in place of the draft.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;

use super::super::form::Layout;
use super::super::{form_rules, forms, store};
use super::draft;
use super::overview::base;
use crate::accounts::Admin;
use crate::catalog::{self, Model};
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, see_other};
use crate::ids::ModelId;
use crate::portal::Portal;

/// A form of this page in bytes. Far more than a form that keeps the rules, so that one of some thousand questions is told what is wrong.
pub(super) const JSON_FORM_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Template)]
#[template(path = "admin/form_json.html")]
struct JsonPage {
    frame: Frame,
    model: Model,
    base: String,
    /// Nothing where there is no draft.
    edition: Option<i64>,
    json: String,
    conflict: Option<String>,
    faults: Vec<FieldError>,
}

/// `GET /admin/models/{id}/form/json`
pub(super) async fn editor(portal: Data<Portal>, frame: Frame, _: Admin, id: Path<ModelId>) -> Result<HttpResponse, Error> {
    page(&json_page(&portal, frame, *id).await?)
}

async fn json_page(portal: &Portal, frame: Frame, id: ModelId) -> Result<JsonPage, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, id).await?;
    let draft = store::find_form_draft(&mut db, id).await?;
    let edition = draft.as_ref().map(|draft| draft.edition);
    let layout = match draft {
        Some(draft) => draft.layout,
        None => forms::current(&mut db, id).await?.layout().clone(),
    };
    Ok(JsonPage { frame, model, base: base(id), edition, json: layout.readable_json(), conflict: None, faults: vec![] })
}

#[derive(Deserialize)]
pub(super) struct Sent {
    edition: Option<i64>,
    json: String,
}

/// `POST /admin/models/{id}/form/json`
pub(super) async fn replace(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    id: Path<ModelId>,
    Form(sent): Form<Sent>,
) -> Result<HttpResponse, Error> {
    catalog::find_model_by_id(&mut *portal.db.acquire().await?, *id).await?;
    let replaced = match Layout::from_json(&sent.json) {
        Ok(form) => {
            let faults = form_rules::faults(&form).len();
            draft::replace(&portal, &by, *id, sent.edition, form).await.map(|()| faults)
        }
        Err(fault) => Err(fault.into()),
    };
    let (conflict, faults) = match replaced {
        Ok(0) => return Ok(see_other(&base(*id), Some("The draft is what your file says. Compare it, and publish it."))),
        Ok(_) => return Ok(see_other(&base(*id), Some("The draft is what your file says. It breaks rules, which stand below."))),
        Err(Error::Invalid(faults)) => (None, faults),
        Err(Error::Conflict(why) | Error::Stale(why)) => (Some(why.to_string()), vec![]),
        Err(other) => return Err(other),
    };
    page_with_faults(&JsonPage { json: sent.json, conflict, faults, ..json_page(&portal, frame, *id).await? })
}

#[derive(Deserialize)]
pub(super) struct Which {
    /// A version; without one, what is asked now.
    version: Option<i32>,
}

/// `GET /admin/models/{id}/form.json`
pub(super) async fn file(portal: Data<Portal>, _: Admin, id: Path<ModelId>, which: Query<Which>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, *id).await?;
    let form = match which.version {
        Some(version) => draft::published(&mut db, *id, version).await?,
        None => forms::current(&mut db, *id).await?,
    };
    let name = format!("attachment; filename=\"form-of-{}.json\"", model.full_name().replace('/', "-"));
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .body(form.layout().readable_json()))
}
