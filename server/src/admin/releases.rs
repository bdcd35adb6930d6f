//! The releases of a model: publishing or discarding a draft, taking a release off offer with a reason, and putting it back.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;

use super::policy::PolicyForm;
use crate::access;
use crate::accounts::Admin;
use crate::catalog::{self, Draft, Gate, Model, NamedRelease, ReleaseFile, ReleaseState, Terms, YANK_REASON_CHARS_MAX, human_bytes};
use crate::clock::Timestamp;
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
    policy: PolicyForm,
    /// Until when revoking takes two people although that rule was lifted.
    still_two: Option<String>,
    /// The licence as it is now: since when holders are asked to agree to it, and until when they have time.
    announced: Option<(String, String)>,
    /// How many holders would be asked to agree to it; nobody can be, where nobody has to agree.
    asks: Option<i64>,
    faults: Vec<FieldError>,
}

impl ModelPage {
    /// Whether the model has a page for others.
    fn is_on_offer(&self) -> bool {
        self.releases.iter().any(|row| row.state != ReleaseState::Draft)
    }
}

/// A release or a draft, as it is listed.
pub(super) struct ReleaseRow {
    pub(super) id: ReleaseId,
    pub(super) revision: String,
    pub(super) notes: String,
    pub(super) names: Vec<String>,
    pub(super) state: ReleaseState,
    /// When it was published; a draft, when it was stored.
    pub(super) since: Timestamp,
    pub(super) yanked_at: Option<Timestamp>,
    /// When and why, in words.
    pub(super) yanked: Option<(String, String)>,
}

impl ReleaseRow {
    fn of_release(named: NamedRelease) -> Self {
        let state = named.state();
        let NamedRelease { release, names } = named;
        Self {
            id: release.id,
            names,
            state,
            since: release.published_at,
            yanked_at: release.yanked_at,
            yanked: release.yanked_at.map(when::minute).zip(release.yank_reason),
            revision: release.revision,
            notes: release.notes,
        }
    }

    fn of_draft(draft: Draft) -> Self {
        Self {
            id: draft.id,
            names: vec![],
            state: ReleaseState::Draft,
            since: draft.drafted_at,
            yanked_at: None,
            yanked: None,
            revision: draft.revision,
            notes: draft.notes,
        }
    }

    fn short(&self) -> &str {
        &self.revision[..10]
    }
}

/// `GET /admin/models/{id}`
pub(super) async fn of_model(portal: Data<Portal>, frame: Frame, _: Admin, id: Path<ModelId>) -> Result<HttpResponse, Error> {
    page(&model_page(&portal, frame, *id, None, vec![]).await?)
}

/// The page of a model; `sent` is the form with its rules as it was sent, and what was wrong with it.
pub(super) async fn model_page(
    portal: &Portal,
    frame: Frame,
    id: ModelId,
    sent: Option<PolicyForm>,
    faults: Vec<FieldError>,
) -> Result<impl Template, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, id).await?;
    let releases = rows(&mut db, id).await?;
    let rules = access::policy::of(&mut db, id).await?;
    let still_two = rules.still_two(portal.clock.now()).map(when::minute);
    let policy = sent.unwrap_or_else(|| PolicyForm::of(&rules));
    let asking = access::consent::asking(&mut db, &model, portal.clock.now()).await?;
    let asks = Some(asking.holders).filter(|_| !asking.is_of_nobody());
    let change = asking.last.filter(|change| change.terms.licence() == model.licence_sha256.as_deref());
    let announced = change.map(|change| (when::minute(change.announced_at), when::minute(change.grace_until)));
    Ok(ModelPage { frame, model, releases, policy, still_two, announced, asks, faults })
}

/// The drafts of a model, and then its releases, the newest first.
pub(super) async fn rows(db: &mut PgConnection, model: ModelId) -> Result<Vec<ReleaseRow>, Error> {
    let drafts = catalog::drafts(db, model).await?.into_iter().map(ReleaseRow::of_draft);
    let releases = catalog::releases(db, model, RELEASES_MAX).await?;
    Ok(drafts.chain(releases.into_iter().map(ReleaseRow::of_release)).collect())
}

#[derive(Template)]
#[template(path = "admin/release.html")]
struct ReleasePage {
    frame: Frame,
    model: Model,
    row: ReleaseRow,
    files: Vec<ReleaseFile>,
    /// How many accounts fetched any of it: so many mails a yank sends.
    fetched_by: i64,
    /// What was typed.
    sent: Sent,
    reason_chars_max: usize,
    faults: Vec<FieldError>,
}

impl ReleasePage {
    fn size(&self) -> String {
        human_bytes(self.files.iter().map(|file| file.size_bytes.unsigned_abs()).sum())
    }
}

/// The fields of the page's forms; each has one of them at most.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Sent {
    tag: String,
    reason: String,
}

/// `GET /admin/releases/{id}`
pub(super) async fn release(portal: Data<Portal>, frame: Frame, _: Admin, id: Path<ReleaseId>) -> Result<HttpResponse, Error> {
    page(&release_page(&portal, frame, *id, Sent::default(), vec![]).await?)
}

async fn release_page(portal: &Portal, frame: Frame, id: ReleaseId, sent: Sent, faults: Vec<FieldError>) -> Result<ReleasePage, Error> {
    let mut db = portal.db.acquire().await?;
    let (model, row) = row(&mut db, id).await?;
    let files = catalog::files(&mut db, id).await?;
    let fetched_by = downloads::fetched_by(&mut db, id).await?;
    Ok(ReleasePage { frame, model, row, files, fetched_by, sent, reason_chars_max: YANK_REASON_CHARS_MAX, faults })
}

/// One release or draft, and its model.
pub(super) async fn row(db: &mut PgConnection, id: ReleaseId) -> Result<(Model, ReleaseRow), Error> {
    if let Some(draft) = catalog::draft(db, id).await? {
        return Ok((catalog::find_model_by_id(db, draft.model_id).await?, ReleaseRow::of_draft(draft)));
    }
    let named = catalog::named_release(db, id).await?;
    Ok((catalog::find_model_by_id(db, named.release.model_id).await?, ReleaseRow::of_release(named)))
}

/// `POST /admin/releases/{id}/publish`
pub(super) async fn publish(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    id: Path<ReleaseId>,
    Form(sent): Form<Sent>,
) -> Result<HttpResponse, Error> {
    match publish_as(&portal, &by, *id, &sent.tag).await {
        Ok(model) => Ok(see_other(&format!("/admin/models/{}", model.id), Some("Published. main names it now."))),
        Err(Error::Invalid(faults)) => page_with_faults(&release_page(&portal, frame, *id, sent, faults).await?),
        Err(other) => Err(other),
    }
}

/// Puts a draft on offer, under a tag as it was typed; without one when nothing was. Errors: as [`catalog::publish_draft`], and `Invalid` for
/// what is no tag.
pub(super) async fn publish_as(portal: &Portal, by: &Admin, id: ReleaseId, tag: &str) -> Result<Model, Error> {
    let tag = match tag.trim() {
        "" => None,
        typed => Some(catalog::parse_tag(typed)?),
    };
    let terms = Terms { gate: None, tag: tag.as_deref() };
    Ok(catalog::publish_draft(portal, Some(by.0.id), id, &terms).await?.0)
}

/// `POST /admin/releases/{id}/discard`
pub(super) async fn discard(
    portal: Data<Portal>,
    by: Admin,
    id: Path<ReleaseId>,
    _: Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let (model, _) = catalog::discard_draft(&portal, Some(by.0.id), *id).await?;
    Ok(see_other(&format!("/admin/models/{}", model.id), Some("Discarded. Its bytes stay in the store until sluice gc removes them.")))
}

/// `POST /admin/releases/{id}/yank`
pub(super) async fn yank(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    id: Path<ReleaseId>,
    Form(sent): Form<Sent>,
) -> Result<HttpResponse, Error> {
    match downloads::yank(&portal, Some(by.0.id), *id, &sent.reason).await {
        Ok(done) => Ok(see_other(&format!("/admin/models/{}", done.changed.model.id), Some(&told("Yanked", &done)))),
        Err(Error::Invalid(faults)) => page_with_faults(&release_page(&portal, frame, *id, sent, faults).await?),
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
