//! What becomes of a draft: it is published, or discarded.

use sqlx::PgConnection;

use super::check::{CARD_FILE, LICENCE_FILES, LicenceText};
use super::model::{Draft, Model, ReleaseFile};
use super::offer::{Face, Terms, put_on_offer};
use super::{prove, store};
use crate::audit::{self, Event};
use crate::error::Error;
use crate::ids::{AccountId, ReleaseId};
use crate::portal::Portal;
use crate::storage::{ObjectKey, Problem};

/// Makes a draft the newest release of its model, if the store still has what it was when it was stored; says what model that is.
/// Errors: `Conflict` if it is no draft any more, the tag is taken, or an object is missing or spoilt.
pub async fn publish_draft(portal: &Portal, by: Option<AccountId>, id: ReleaseId, terms: &Terms<'_>) -> Result<(Model, Draft), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let (model, draft) = lock(&mut tx, id).await?;
    let files = store::files(&mut tx, id).await?;
    check(portal, &mut tx, id, &files).await?;
    let face = face(portal, &files).await?;
    let named = (id, draft.revision.as_str());
    prove::sign(&mut tx, portal, &model, named, now).await?;
    let (model, _) = put_on_offer(&mut tx, now, by, model, named, (terms, face)).await?;
    tx.commit().await?;
    Ok((model, draft))
}

/// Removes a draft; `gc` may then remove the objects that were its alone. Errors: `Conflict` if it is no draft any more.
pub async fn discard_draft(portal: &Portal, by: Option<AccountId>, id: ReleaseId) -> Result<(Model, Draft), Error> {
    let mut tx = portal.db.begin().await?;
    let (model, draft) = lock(&mut tx, id).await?;
    store::delete_draft(&mut tx, id).await?;
    let event = Event::DraftDiscarded { model: model.id, revision: draft.revision.clone() };
    audit::record(&mut tx, portal.clock.now(), by, &event).await?;
    tx.commit().await?;
    Ok((model, draft))
}

/// The draft and its model, with publications of the model held off until the transaction ends.
async fn lock(tx: &mut PgConnection, id: ReleaseId) -> Result<(Model, Draft), Error> {
    let gone = || Error::Conflict("this is no draft any more: somebody published or discarded it; nothing was changed".into());
    let Some(draft) = store::draft(tx, id).await? else {
        store::release(tx, id).await?;
        return Err(gone());
    };
    let model = store::find_model_by_id(tx, draft.model_id).await?;
    store::lock_publication(tx, &model.full_name().parse()?).await?;
    let draft = store::draft(tx, id).await?.ok_or_else(gone)?;
    Ok((store::find_model_by_id(tx, model.id).await?, draft))
}

/// Whether the store still holds every file as it was verified: there, as long, and not found spoilt by a scrub since.
async fn check(portal: &Portal, tx: &mut PgConnection, id: ReleaseId, files: &[ReleaseFile]) -> Result<(), Error> {
    let again = "publish the folder again, which writes it anew";
    if let Some((path, fault)) = store::spoilt_file(tx, id).await? {
        return Err(Error::Conflict(format!("{path} {fault}, as the store was read last; {again}").into()));
    }
    for file in files {
        let found = portal.objects.size(&ObjectKey::file(&file.sha256)).await.map_err(Problem::for_operator)?;
        if found != Some(file.size_bytes.unsigned_abs()) {
            return Err(Error::Conflict(format!("{} is not in the store as it was; {again}", file.path).into()));
        }
    }
    Ok(())
}

/// Card and licence as they were checked when the draft was stored.
async fn face(portal: &Portal, files: &[ReleaseFile]) -> Result<Face, Error> {
    let named = |name: &str| files.iter().find(|file| file.path == name);
    let card = match named(CARD_FILE) {
        Some(file) => Some(text(portal, file).await?),
        None => None,
    };
    let licence = match LICENCE_FILES.iter().find_map(|name| named(name)) {
        Some(file) => Some(LicenceText::new(&file.path, text(portal, file).await?)),
        None => None,
    };
    Ok(Face::of(card.as_deref(), licence.as_ref()))
}

async fn text(portal: &Portal, file: &ReleaseFile) -> Result<String, Error> {
    let bytes = portal.objects.read(&ObjectKey::file(&file.sha256), file.size_bytes.unsigned_abs()).await?;
    String::from_utf8(bytes.to_vec()).map_err(Error::internal)
}
