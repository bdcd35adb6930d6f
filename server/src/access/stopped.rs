//! The reviewer's list of access that somebody has stopped: proposed to be revoked, where another person confirms, and suspended.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;

use super::grant::{HeldGrant, Note};
use super::people::People;
use super::queue_page::DeskTabs;
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

/// Why a grant stands in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody proposed to revoke it, and whoever reads this may confirm or reject.
    ToConfirm,
    /// Somebody proposed to revoke it, and another person answers.
    Proposed,
    /// It is suspended.
    Suspended,
}

impl Why {
    /// In a word, for programs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Why::ToConfirm | Why::Proposed => "revocation_proposed",
            Why::Suspended => "suspended",
        }
    }
}

/// A grant that somebody has stopped, and what they said.
pub(super) struct StoppedGrant {
    pub(super) why: Why,
    pub(super) note: Note,
    pub(super) held: HeldGrant,
}

/// All that is stopped, with who and what it is about.
pub(super) struct Stopped {
    reader: AccountId,
    pub(super) grants: Vec<StoppedGrant>,
    pub(super) people: People,
    pub(super) models: Vec<Model>,
}

impl Stopped {
    /// What this reviewer sees of it; at most `limit` of those proposed to be revoked, and of those suspended.
    pub(super) async fn read(portal: &Portal, reader: AccountId, limit: i64) -> Result<Self, Error> {
        let now = portal.clock.now();
        let mut db = portal.db.acquire().await?;
        let proposed = store::revocations_proposed(&mut db, now, limit).await?.into_iter().filter_map(|held| {
            let note = held.grant.proposed.clone()?;
            let is_anothers = held.account == reader || note.by == Some(reader);
            Some(StoppedGrant { why: if is_anothers { Why::Proposed } else { Why::ToConfirm }, note, held })
        });
        let suspended = store::suspended_grants(&mut db, now, limit).await?.into_iter().filter_map(|held| {
            let note = held.grant.suspended.clone()?;
            Some(StoppedGrant { why: Why::Suspended, note, held })
        });
        let grants: Vec<StoppedGrant> = proposed.chain(suspended).collect();
        let models = catalog::find_models(&mut db, &grants.iter().map(|one| one.held.model).collect::<Vec<ModelId>>()).await?;
        let named = grants.iter().flat_map(|one| [Some(one.held.account), one.note.by]).flatten();
        let people = People(accounts::find_accounts(&mut db, &named.collect::<Vec<AccountId>>()).await?);
        Ok(Self { reader, grants, people, models })
    }

    /// Who stopped it. To whom it concerns, a reviewer is a reviewer.
    pub(super) fn by(&self, one: &StoppedGrant) -> String {
        match one.note.by {
            Some(_) if one.held.account == self.reader => "a reviewer".into(),
            Some(by) => self.people.name(by),
            None => "the operator".into(),
        }
    }

    fn rows(&self, why: Why) -> Vec<StoppedRow> {
        let row = |one: &StoppedGrant| StoppedRow {
            id: one.held.grant.id,
            holder: self.people.name(one.held.account),
            model: name_of(&self.models, one.held.model).0,
            by: self.by(one),
            at: when::minute(one.note.at),
            reason: one.note.reason.clone(),
        };
        self.grants.iter().filter(|one| one.why == why).map(row).collect()
    }
}

#[derive(Template)]
#[template(path = "access/stopped.html")]
struct StoppedPage {
    frame: Frame,
    tabs: DeskTabs,
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
    let stopped = Stopped::read(&portal, by.0.id, STOPPED_MAX).await?;
    page(&StoppedPage {
        frame,
        tabs: DeskTabs::read(&mut *portal.db.acquire().await?, by.0.id, portal.clock.now()).await?,
        to_confirm: stopped.rows(Why::ToConfirm),
        waiting: stopped.rows(Why::Proposed),
        suspended: stopped.rows(Why::Suspended),
    })
}
