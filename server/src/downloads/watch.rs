//! Who is being sent bytes now, and whether they still may: a grant or a token that is taken back, or a release that is yanked, ends what
//! is running.
//!
//! Streams of one visitor and one release are asked about together, so that two thousand ranges of one download cost one question.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use tokio::sync::watch;

use crate::access::{self, Action, Verdict};
use crate::accounts::{self, Via, Visitor};
use crate::catalog;
use crate::error::Error;
use crate::ids::{ReleaseId, SessionId, TokenId};
use crate::portal::Portal;

/// How often is asked where the record does not grow meanwhile. Most of what takes access away is on it and is asked about as soon as it is
/// integrated; an end that comes by time is not.
pub const ASK_EVERY: Duration = Duration::from_secs(2);

/// What makes two streams one question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    via: Shown,
    release: ReleaseId,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Shown {
    Nothing,
    Session(SessionId),
    Token(TokenId),
}

#[derive(Debug)]
struct Group {
    visitor: Visitor,
    over: watch::Sender<bool>,
}

/// The streams that run; every clone is the same table.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    running: Arc<Mutex<HashMap<Key, Group>>>,
}

impl Watch {
    /// `body`, for as long as this visitor may have it of this release.
    pub(super) fn guard(&self, visitor: &Visitor, release: ReleaseId, body: BoxBody) -> Guarded {
        let via = match visitor {
            Visitor::Anonymous | Visitor::BadToken => Shown::Nothing,
            Visitor::Known { via: Via::Session(session), .. } => Shown::Session(*session),
            Visitor::Known { via: Via::Token { id, .. }, .. } => Shown::Token(*id),
        };
        let mut running = self.lock();
        let group =
            running.entry(Key { via, release }).or_insert_with(|| Group { visitor: visitor.clone(), over: watch::channel(false).0 });
        let mut over = group.over.subscribe();
        let ended = async move {
            if over.wait_for(|over| *over).await.is_err() {
                // Nobody watches any more: then nobody takes anything back.
                std::future::pending::<()>().await;
            }
        };
        Guarded { body, ended: Box::pin(ended), is_over: false }
    }

    /// Asks about everybody, and ends what may not go on. What cannot be asked is asked the next time.
    pub(super) async fn ask(&self, portal: &Portal) -> Result<(), Error> {
        let questions: Vec<(Key, Visitor)> = {
            let mut running = self.lock();
            running.retain(|_, group| group.over.receiver_count() > 0);
            running.iter().map(|(key, group)| (key.clone(), group.visitor.clone())).collect()
        };
        for (key, visitor) in questions {
            if !may_go_on(portal, &visitor, key.release).await? {
                tracing::info!(release = %key.release, account = ?visitor.account_id(), "running downloads are ended: access was taken back");
                // Out of the table, so that whoever is let in again begins afresh.
                if let Some(group) = self.lock().remove(&key) {
                    group.over.send_replace(true);
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Group>> {
        // Nothing panics while holding it half changed.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn may_go_on(portal: &Portal, visitor: &Visitor, release: ReleaseId) -> Result<bool, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let release = catalog::release(&mut db, release).await?;
    if release.yanked_at.is_some() {
        return Ok(false);
    }
    let visitor = accounts::look_again(&mut db, visitor, now).await?;
    let model = catalog::find_model_by_id(&mut db, release.model_id).await?;
    let verdict = access::authorize(&mut db, &visitor, &model, Action::Download, now).await?;
    Ok(matches!(verdict, Verdict::Allowed(_)))
}

/// A body that ends with an error when it may not go on, so that the client sees a broken transfer and not a short file.
pub(super) struct Guarded {
    body: BoxBody,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_over: bool,
}

impl MessageBody for Guarded {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if self.ended.as_mut().poll(cx).is_ready() {
            self.is_over = true;
            let cause = io::Error::new(io::ErrorKind::PermissionDenied, "access was taken back");
            return Poll::Ready(Some(Err(cause.into())));
        }
        Pin::new(&mut self.body).poll_next(cx)
    }
}
