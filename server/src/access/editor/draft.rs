//! The draft of a model's next form: begun from one that was published, changed step by step, replaced, discarded.

use sqlx::PgConnection;

use super::super::form::{Form, Layout};
use super::super::store::{self, FormDraft, FormVersion};
use super::super::{form_rules, forms};
use super::overview::base;
use crate::accounts::{self, Admin};
use crate::error::{Error, FieldError};
use crate::http::when;
use crate::ids::ModelId;
use crate::portal::Portal;

/// Begins a draft from a form that was published for the model, or from the built-in one. Errors: `Conflict` if there is a draft.
pub(super) async fn start(portal: &Portal, by: &Admin, model: ModelId, version: i32) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let form = published(&mut tx, model, version).await?;
    if !store::insert_form_draft(&mut tx, model, form.layout(), by.0.id, now).await? {
        let begun = Error::Conflict("there is a draft already; publish or discard it first".into());
        return Err(begun.mended_by(base(model), "Go to the draft"));
    }
    tx.commit().await?;
    Ok(())
}

/// The form of a version; 0 is the built-in one. Errors: `NotFound`.
pub(super) async fn published(db: &mut PgConnection, model: ModelId, version: i32) -> Result<Form, Error> {
    if version == 0 {
        return Ok(Form::built_in().clone());
    }
    let versions = store::form_versions(db, model).await?;
    let version = versions.into_iter().find(|known| known.version == version).ok_or(Error::NotFound("version of the form"))?;
    forms::named(db, &version.form_sha256).await?.ok_or_else(|| Error::internal(format!("the form {} is gone", version.form_sha256)))
}

/// The version that applicants answer now; none for the built-in form.
pub(super) async fn current_version(db: &mut PgConnection, model: ModelId) -> Result<Option<FormVersion>, Error> {
    Ok(store::form_versions(db, model).await?.into_iter().next())
}

/// Makes a change to the edition of the draft that somebody saw. Errors: `Stale` if there is another one now, `Conflict` if
/// there is none; what `edit` says.
pub(super) async fn change(
    portal: &Portal,
    by: &Admin,
    model: ModelId,
    edition: i64,
    edit: impl FnOnce(&mut Layout) -> Result<(), Error>,
) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let mut draft = lock(&mut tx, model, edition).await?;
    edit(&mut draft.layout)?;
    store::update_form_draft(&mut tx, model, &draft.layout, by.0.id, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Writes a whole form in place of the edition that somebody saw; `None` saw no draft, and begins one. It may break rules, as a draft that
/// is changed step by step may: they are kept when it is published. Errors: as above; `Invalid` for more than a form holds, or what no database keeps.
pub(super) async fn replace(portal: &Portal, by: &Admin, model: ModelId, edition: Option<i64>, form: Layout) -> Result<(), Error> {
    let too_many = form_rules::counts(&form);
    if !too_many.is_empty() {
        return Err(Error::Invalid(too_many.into_iter().map(FieldError::from).collect()));
    }
    if form.canonical_json().contains("\\u0000") {
        return Err(FieldError::new("form", "holds a character of no width and no meaning (U+0000)").into());
    }
    let Some(edition) = edition else {
        let now = portal.clock.now();
        let mut tx = portal.db.begin().await?;
        if !store::insert_form_draft(&mut tx, model, &form, by.0.id, now).await? {
            let draft = store::find_form_draft(&mut tx, model).await?;
            return Err(stale(&mut tx, model, draft).await);
        }
        tx.commit().await?;
        return Ok(());
    };
    change(portal, by, model, edition, |layout| {
        *layout = form;
        Ok(())
    })
    .await
}

/// Throws the draft away. Errors: `Stale` if it is not as somebody saw it any more, `Conflict` if there is none.
pub(super) async fn discard(portal: &Portal, model: ModelId, edition: i64) -> Result<(), Error> {
    let mut tx = portal.db.begin().await?;
    lock(&mut tx, model, edition).await?;
    store::delete_form_draft(&mut tx, model).await?;
    tx.commit().await?;
    Ok(())
}

/// The draft, locked, if it is still the edition that somebody saw.
pub(super) async fn lock(tx: &mut PgConnection, model: ModelId, edition: i64) -> Result<FormDraft, Error> {
    match store::lock_form_draft(tx, model).await? {
        Some(draft) if draft.edition == edition => Ok(draft),
        other => Err(stale(tx, model, other).await),
    }
}

/// The draft as it is. Errors: `Conflict` if there is none.
pub(super) async fn existing(db: &mut PgConnection, model: ModelId) -> Result<FormDraft, Error> {
    store::find_form_draft(db, model).await?.ok_or_else(|| none(model))
}

/// What is said where a draft is needed and there is none.
pub(super) fn none(model: ModelId) -> Error {
    let none =
        Error::Conflict("there is no draft of this form: it was published, discarded or not begun; begin one on the form’s page".into());
    none.mended_by(base(model), "Go to the form")
}

/// Why nothing was changed: who came first.
async fn stale(db: &mut PgConnection, model: ModelId, draft: Option<FormDraft>) -> Error {
    let Some(draft) = draft else {
        let gone = Error::Conflict("there is no draft of this form any more: it was published or discarded; nothing was changed".into());
        return gone.mended_by(base(model), "Go to the form");
    };
    match accounts::find_account(db, draft.updated_by).await {
        Ok(by) => {
            let at = when::minute(draft.updated_at);
            let changed = format!("{} changed this draft on {at}, after you looked at it; nothing was changed", by.name);
            Error::Stale(changed.into()).mended_by(base(model), "Look at the draft again")
        }
        Err(cause) => cause,
    }
}
