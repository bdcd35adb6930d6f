//! Reserve before, settle after, even when the reader leaves: the place in the account's line and the row in the ledger.

use actix_web::web::Data;
use sqlx::{Postgres, Transaction};

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
    /// Opens a row, of a trial in the transaction that holds what it `reserved`: what follows is on the record even if the process is killed.
    pub(super) async fn open(
        portal: Data<Portal>,
        new: NewGeneration,
        reserved: Option<Transaction<'static, Postgres>>,
    ) -> Result<Self, Error> {
        // In a task of its own: who leaves while the row is written has it settled once it is there.
        let opened = tokio::spawn(async move {
            // It is there before its row is: should the database not say whether it has written it, it is settled all the same.
            let tab = Self { portal, id: new.id, completion_tokens: 0, open: true };
            match reserved {
                Some(mut tx) => {
                    store::insert(&mut tx, &new).await?;
                    tx.commit().await?;
                }
                None => store::insert(&mut *tab.portal.db.acquire().await?, &new).await?,
            }
            Ok(tab)
        });
        opened.await.map_err(Error::internal)?
    }

    /// Which row it is.
    pub(super) fn id(&self) -> GenerationId {
        self.id
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
