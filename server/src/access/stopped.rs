//! The reviewer's list of access that somebody has stopped: proposed to be revoked, where another person confirms, and suspended.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;

use super::grant::{HeldGrant, Note};
use super::people::People;
use super::state_view::name_of;
use super::store;
use crate::accounts::{self, Reviewer};
use crate::catalog::{self, Model};
use crate::error::Error;
use crate::http::page::page;
use crate::http::{Frame, when};
use crate::ids::{AccountId, GrantId, ModelId};
use crate::portal::Portal;

/// How many of each kind one page shows.
const STOPPED_MAX: i64 = 100;

#[derive(Template)]
#[template(path = "access/stopped.html")]
struct StoppedPage {
    frame: Frame,
    /// Proposals that whoever reads this may confirm or reject.
    to_confirm: Vec<StoppedRow>,
    /// Proposals that wait for another person.
    waiting: Vec<StoppedRow>,
    suspended: Vec<StoppedRow>,
}

struct StoppedRow {
    id: GrantId,
    holder: String,
    model: String,
    by: String,
    at: String,
    reason: String,
}

/// `GET /review/grants`
pub(super) async fn list(portal: Data<Portal>, frame: Frame, by: Reviewer) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let proposed = store::revocations_proposed(&mut db, now, STOPPED_MAX).await?;
    let suspended = store::suspended_grants(&mut db, now, STOPPED_MAX).await?;
    let all = || proposed.iter().chain(&suspended);
    let models = catalog::find_models(&mut db, &all().map(|held| held.model).collect::<Vec<ModelId>>()).await?;
    let notes = all().flat_map(|held| [&held.grant.proposed, &held.grant.suspended]).flatten().filter_map(|note| note.by);
    let people = People(accounts::find_accounts(&mut db, &all().map(|held| held.account).chain(notes).collect::<Vec<AccountId>>()).await?);
    let of = |held: &HeldGrant| held.grant.proposed.as_ref().map(|note| row(held, note, &people, &models));
    let is_mine = |held: &&HeldGrant| held.account == by.0.id || held.grant.proposed.as_ref().is_some_and(|note| note.by == Some(by.0.id));
    page(&StoppedPage {
        frame,
        to_confirm: proposed.iter().filter(|held| !is_mine(held)).filter_map(of).collect(),
        waiting: proposed.iter().filter(is_mine).filter_map(of).collect(),
        suspended: suspended
            .iter()
            .filter_map(|held| held.grant.suspended.as_ref().map(|note| row(held, note, &people, &models)))
            .collect(),
    })
}

fn row(held: &HeldGrant, note: &Note, people: &People, models: &[Model]) -> StoppedRow {
    StoppedRow {
        id: held.grant.id,
        holder: people.name(held.account),
        model: name_of(models, held.model).0,
        by: note.by.map_or_else(|| "the operator".into(), |by| people.name(by)),
        at: when::minute(note.at),
        reason: note.reason.clone(),
    }
}
