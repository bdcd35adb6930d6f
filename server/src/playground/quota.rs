//! Reserve before, settle after, even when the reader leaves: the place in the account's line and the row in the ledger.

use actix_web::web::Data;

use super::store::{self, Ending, NewGeneration};
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
        store::insert(&mut *portal.db.acquire().await?, new).await?;
        Ok(Self { portal: portal.clone(), id: new.id, completion_tokens: 0, open: true })
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
        let mut db = portal.db.acquire().await?;
        store::settle(&mut db, id, completion_tokens, ending, portal.clock.now()).await
    };
    if let Err(cause) = settled.await {
        tracing::error!(%id, %cause, "a generation could not be settled");
    }
}
