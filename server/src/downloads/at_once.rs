//! A token and a file, in one question: who that is, whether they may, what it is. Only a plain yes is believed. For anything else
//! nothing is said here, and `lookup` asks again, step by step in the Hub's order, so that the refusal names what is missing.

use actix_web::HttpRequest;

use super::instead::Instead;
use super::quota::Share;
use super::send::{Found, Names};
use super::{lookup, store};
use crate::access::{self, Action};
use crate::accounts::{Unasked, Visitor};
use crate::portal::Portal;

/// The visitor and what they asked for, if they showed a token that may have just this file of just this commit.
pub(super) async fn find(portal: &Portal, request: &HttpRequest, names: &Names) -> Result<Option<(Visitor, Found)>, Instead> {
    let Some(Unasked(token)) = Unasked::of(request) else { return Ok(None) };
    let texts = [&names.org, &names.name, &names.revision, &names.path];
    if lookup::is_readable_by_all(&names.path) || !texts.into_iter().all(|text| lookup::is_text(text)) {
        return Ok(None);
    }
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let Some(all) = store::permitted_file(&mut db, &token, names, now).await? else { return Ok(None) };
    let visitor = Visitor::enter(&mut db, all.holder, now).await?;
    let (model, release, file) = (all.model, all.release, all.file);
    let Some(permit) = access::permit_with(&visitor, &model, Action::Download, all.grant.as_ref(), now) else { return Ok(None) };
    let warning = lookup::ends_soon(&portal.config, &model, &permit, now);
    let share = Share::of(&mut db, portal, &visitor, request).await?;
    share.check_day(portal)?;
    Ok(Some((visitor, Found { model, release, file, warning, share: Some(share) })))
}
