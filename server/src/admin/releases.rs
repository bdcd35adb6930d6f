//! The releases of a model, taking one off offer with a reason, and putting it back.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;

use crate::accounts::Admin;
use crate::catalog::{self, MAIN, Model, Release, ReleaseState, YANK_REASON_CHARS_MAX};
use crate::downloads::{self, Yanked};
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, filters, see_other, when};
use crate::ids::{ModelId, ReleaseId};
use crate::portal::Portal;

/// Releases on the page of a model.
const RELEASES_MAX: i64 = 1_000;

#[derive(Template)]
#[template(path = "admin/model.html")]
struct ModelPage {
    frame: Frame,
    model: Model,
    releases: Vec<ReleaseRow>,
}

struct ReleaseRow {
    id: ReleaseId,
    revision: String,
    names: Vec<String>,
    state: ReleaseState,
    published: String,
    yanked: Option<(String, String)>,
}

impl ReleaseRow {
    fn new(release: Release, names: &[catalog::ReleaseName]) -> Self {
        let main = names.iter().find(|name| name.name == MAIN).map_or("", |main| &main.revision);
        Self {
            id: release.id,
            names: names.iter().filter(|name| name.revision == release.revision).map(|name| name.name.clone()).collect(),
            state: release.state(main),
            published: when::minute(release.published_at),
            yanked: release.yanked_at.map(when::minute).zip(release.yank_reason),
            revision: release.revision,
        }
    }

    fn short(&self) -> &str {
        &self.revision[..10]
    }
}

/// `GET /admin/models/{id}`
pub(super) async fn of_model(portal: Data<Portal>, frame: Frame, _: Admin, id: Path<ModelId>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, *id).await?;
    let names = catalog::names(&mut db, *id).await?;
    let releases = catalog::releases(&mut db, *id, RELEASES_MAX).await?;
    page(&ModelPage { frame, model, releases: releases.into_iter().map(|release| ReleaseRow::new(release, &names)).collect() })
}

#[derive(Template)]
#[template(path = "admin/release.html")]
struct ReleasePage {
    frame: Frame,
    model: Model,
    row: ReleaseRow,
    /// How many accounts fetched any of it: so many mails a yank sends.
    fetched_by: i64,
    reason: String,
    reason_chars_max: usize,
    faults: Vec<FieldError>,
}

/// `GET /admin/releases/{id}`
pub(super) async fn release(portal: Data<Portal>, frame: Frame, _: Admin, id: Path<ReleaseId>) -> Result<HttpResponse, Error> {
    page(&release_page(&portal, frame, *id, String::new(), vec![]).await?)
}

async fn release_page(portal: &Portal, frame: Frame, id: ReleaseId, reason: String, faults: Vec<FieldError>) -> Result<ReleasePage, Error> {
    let mut db = portal.db.acquire().await?;
    let release = catalog::release(&mut db, id).await?;
    let model = catalog::find_model_by_id(&mut db, release.model_id).await?;
    let names = catalog::names(&mut db, model.id).await?;
    let fetched_by = downloads::fetched_by(&mut db, id).await?;
    let row = ReleaseRow::new(release, &names);
    Ok(ReleasePage { frame, model, row, fetched_by, reason, reason_chars_max: YANK_REASON_CHARS_MAX, faults })
}

#[derive(Deserialize)]
pub(super) struct Why {
    #[serde(default)]
    reason: String,
}

/// `POST /admin/releases/{id}/yank`
pub(super) async fn yank(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    id: Path<ReleaseId>,
    Form(sent): Form<Why>,
) -> Result<HttpResponse, Error> {
    match downloads::yank(&portal, Some(by.0.id), *id, &sent.reason).await {
        Ok(done) => Ok(see_other(&format!("/admin/models/{}", done.changed.model.id), Some(&told("Yanked", &done)))),
        Err(Error::Invalid(faults)) => page_with_faults(&release_page(&portal, frame, *id, sent.reason, faults).await?),
        Err(other) => Err(other),
    }
}

/// `POST /admin/releases/{id}/restore`
pub(super) async fn restore(
    portal: Data<Portal>,
    by: Admin,
    id: Path<ReleaseId>,
    _: Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let done = downloads::restore(&portal, Some(by.0.id), *id).await?;
    Ok(see_other(&format!("/admin/models/{}", done.changed.model.id), Some(&told("Restored", &done))))
}

fn told(what: &str, done: &Yanked) -> String {
    let mails = if done.told == 1 { "1 mail goes".to_owned() } else { format!("{} mails go", done.told) };
    let main = if done.changed.main_moved { format!(" main names {} now.", &done.changed.main[..10]) } else { String::new() };
    format!("{what}. {mails} to those who fetched it.{main}")
}
