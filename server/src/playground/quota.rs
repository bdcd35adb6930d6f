//! Reserve before, settle after, even when the reader leaves: the place in the account's line and the row in the ledger.

use actix_web::web::Data;
use inference::Request;

use super::store::{self, Ending, NewGeneration};
use super::trial;
use crate::catalog::Model;
use crate::error::Error;
use crate::http::places::Place;
use crate::ids::{AccountId, GenerationId};
use crate::portal::Portal;

/// A place in the account's line, at once. Errors: [`Error::Limited`] when as many requests as allowed run and wait already.
pub(super) fn enter(portal: &Portal, account: AccountId) -> Result<Place, Error> {
    portal.limits.generations.enter(&account.to_string())
}

/// An open row of the ledger. Settled by [`Tab::settle`], or as cancelled when dropped before.
pub(super) struct Tab {
    portal: Data<Portal>,
    id: GenerationId,
    completion_tokens: i32,
    open: bool,
}

impl Tab {
    /// Opens a row: what follows is on the record even if the process is killed.
    pub(super) async fn open(portal: &Data<Portal>, new: &NewGeneration) -> Result<Self, Error> {
        let tab = Self::of(portal, new);
        store::insert(&mut *portal.db.acquire().await?, new).await?;
        Ok(tab)
    }

    /// The same for a trial, whose requests are cut to what is left of it. Errors: see [`trial::reserve`].
    pub(super) async fn open_trial(
        portal: &Data<Portal>,
        mut new: NewGeneration,
        requests: &mut [Request],
        model: &Model,
    ) -> Result<Self, Error> {
        let mut tx = portal.db.begin().await?;
        trial::reserve(&mut tx, &mut new, requests, model).await?;
        let tab = Self::of(portal, &new);
        store::insert(&mut tx, &new).await?;
        tx.commit().await?;
        Ok(tab)
    }

    /// It is there before its row is, so that who leaves while the row is written leaves none open.
    fn of(portal: &Data<Portal>, new: &NewGeneration) -> Self {
        Self { portal: portal.clone(), id: new.id, completion_tokens: 0, open: true }
    }

    /// Which row it is.
    pub(super) fn id(&self) -> GenerationId {
        self.id
    }

    /// Removes the row of what did not begin after all. Where the database does not answer it is settled instead, with nothing made.
    pub(super) async fn take_back(mut self) {
        let removed = async { store::remove(&mut *self.portal.db.acquire().await?, self.id).await };
        match removed.await {
            Ok(()) => self.open = false,
            Err(cause) => tracing::error!(id = %self.id, %cause, "a generation that did not begin could not be taken back"),
        }
    }

    /// Counts one token made.
    pub(super) fn count_token(&mut self) {
        self.completion_tokens = self.completion_tokens.saturating_add(1);
    }

    /// Closes the row. A database that does not answer is told to the log: the text has been made, and is not taken back for that.
    pub(super) async fn settle(&mut self, ending: Ending) {
        if std::mem::take(&mut self.open) {
            settle(&self.portal, self.id, self.completion_tokens, ending).await;
        }
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        // Without a runtime the process is ending; the next start closes the row as interrupted.
        if let (true, Ok(runtime)) = (self.open, tokio::runtime::Handle::try_current()) {
            let (portal, id, tokens) = (self.portal.clone(), self.id, self.completion_tokens);
            runtime.spawn(async move { settle(&portal, id, tokens, Ending::Cancelled).await });
        }
    }
}

async fn settle(portal: &Portal, id: GenerationId, completion_tokens: i32, ending: Ending) {
    let settled = async {
        let mut tx = portal.db.begin().await?;
        store::settle(&mut tx, id, completion_tokens, ending, portal.clock.now()).await?;
        Ok::<_, Error>(tx.commit().await?)
    };
    if let Err(cause) = settled.await {
        tracing::error!(%id, %cause, "a generation could not be settled");
    }
}
