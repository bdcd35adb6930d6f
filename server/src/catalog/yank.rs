//! Taking a release off offer with a reason, and putting it back. Its bytes, digests and page stay; only nobody gets the bytes any more.
//!
//! `main` never names a yanked release while there is a good one: it goes back to the newest, and forward again when a newer one is
//! restored, unless a publication has moved it meanwhile. Tags do not move, because people cite them: one that names a yanked release is
//! answered with the reason.

use sqlx::PgConnection;

use super::model::{MAIN, Model, Release};
use super::store;
use crate::audit::{self, Event};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::ids::{AccountId, ReleaseId};

/// How long a reason may be, in characters: it travels in headers too.
pub const YANK_REASON_CHARS_MAX: usize = 300;

/// What became of a release.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The model.
    pub model: Model,
    /// The release, as it is now.
    pub release: Release,
    /// The revision that `main` names now.
    pub main: String,
    /// Whether `main` moved.
    pub main_moved: bool,
}

/// Yanks a release. Errors: `Invalid` without a reason, `Conflict` if it is yanked already.
pub async fn yank(tx: &mut PgConnection, now: Timestamp, by: Option<AccountId>, id: ReleaseId, reason: &str) -> Result<Changed, Error> {
    let reason = parse_reason(reason)?;
    let (model, before) = lock(tx, id).await?;
    if before.yanked_at.is_some() {
        return Err(Error::Conflict("this release is yanked already".into()).mended_by(page_of(id), "See the release"));
    }
    store::set_yanked(tx, id, Some((now, &reason))).await?;
    audit::record(tx, now, by, &Event::ReleaseYanked { model: model.id, revision: before.revision.clone(), reason }).await?;
    settle_main(tx, now, by, model, id).await
}

/// Puts a yanked release back on offer. Errors: `Conflict` if it is not yanked.
pub async fn restore(tx: &mut PgConnection, now: Timestamp, by: Option<AccountId>, id: ReleaseId) -> Result<Changed, Error> {
    let (model, before) = lock(tx, id).await?;
    if before.yanked_at.is_none() {
        return Err(Error::Conflict("this release is not yanked".into()).mended_by(page_of(id), "See the release"));
    }
    store::set_yanked(tx, id, None).await?;
    audit::record(tx, now, by, &Event::ReleaseRestored { model: model.id, revision: before.revision.clone() }).await?;
    settle_main(tx, now, by, model, id).await
}

/// Where an admin sees it.
fn page_of(id: ReleaseId) -> String {
    format!("/admin/releases/{id}")
}

/// The release and its model, with publications of the model held off until the transaction ends.
async fn lock(tx: &mut PgConnection, id: ReleaseId) -> Result<(Model, Release), Error> {
    let model = store::release(tx, id).await?.model_id;
    let model = store::find_model_by_id(tx, model).await?;
    store::lock_publication(tx, &model.full_name().parse()?).await?;
    Ok((model, store::release(tx, id).await?))
}

/// Lets `main` name the newest good release, if it names a yanked one or a yank took it back further than need be.
async fn settle_main(tx: &mut PgConnection, now: Timestamp, by: Option<AccountId>, model: Model, id: ReleaseId) -> Result<Changed, Error> {
    let (named, moved_by_yank) = store::main_of(tx, model.id).await?.ok_or(Error::NotFound("release"))?;
    let newest = store::newest_good_release(tx, model.id).await?;
    let release = store::release(tx, id).await?;
    let target = newest.filter(|newest| newest.id != named.id && (named.yanked_at.is_some() || moved_by_yank));
    let Some(target) = target else {
        return Ok(Changed { model, release, main: named.revision, main_moved: false });
    };
    store::point_by_yank(tx, model.id, target.id, now).await?;
    let event = Event::ReleaseNamed { model: model.id, name: MAIN.to_owned(), from: Some(named.revision), to: target.revision.clone() };
    audit::record(tx, now, by, &event).await?;
    Ok(Changed { model, release, main: target.revision, main_moved: true })
}

fn parse_reason(raw: &str) -> Result<String, FieldError> {
    let reason = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    let sane = (1..=YANK_REASON_CHARS_MAX).contains(&reason.chars().count()) && !reason.chars().any(char::is_control);
    if sane {
        Ok(reason)
    } else {
        Err(FieldError::new(
            "reason",
            format!("say why in 1 to {YANK_REASON_CHARS_MAX} characters; everybody who asks for the release reads it"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_and_not_empty() {
        assert_eq!(parse_reason(" one\r\n shard \t was corrupt ").expect("fine"), "one shard was corrupt");
        for wrong in ["", " \n ", "a\u{7}b", &"x".repeat(301)] {
            assert!(parse_reason(wrong).is_err(), "{wrong:?}");
        }
    }
}
