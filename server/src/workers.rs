//! Background loops: integrate the record, look it through, empty the outbox, write the digests, write the download ledger, end what was revoked, sign releases, sweep what has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Data;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::downloads::{self, ASK_EVERY, Ledger};
use crate::error::Error;
use crate::portal::Portal;
use crate::{access, accounts, audit, catalog, mail, privacy};

/// How much a crash may lose of the bytes that the download ledger counts.
const LEDGER_EVERY: Duration = Duration::from_secs(1);
/// How soon an event has its place in the log. Receipts are promised within a second.
const AUDIT_EVERY: Duration = Duration::from_millis(250);
/// How soon what failed is tried again, where it would be its turn later.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// How often all of the record is looked through, and how long after the start first.
const CHECK_EVERY: Duration = Duration::from_secs(86_400);
const CHECK_AFTER: Duration = Duration::from_secs(60);
const OUTBOX_EVERY: Duration = Duration::from_secs(1);
/// How soon after its hour a digest leaves.
const DIGEST_EVERY: Duration = Duration::from_secs(60);
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// How soon releases are signed again after the key was rotated, or for the first time after an update.
const PROOFS_EVERY: Duration = Duration::from_secs(10);
/// How long the end of the portal waits for them.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// The loops of one portal.
pub struct Workers {
    loops: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts every loop.
    pub fn start(portal: &Data<Portal>, ledger: &Data<Ledger>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut loops = JoinSet::new();
        loops.spawn(every(AUDIT_EVERY, portal.clone(), stopped.clone(), "audit log", |portal| async move {
            portal.audit.integrate(&portal.db).await.map(drop)
        }));
        let told = stopped.clone();
        loops.spawn({
            let portal = portal.clone();
            async move {
                // Not while it starts, which has enough to do.
                if tokio::time::timeout(CHECK_AFTER, told.clone().changed()).await.is_ok() {
                    return;
                }
                every(CHECK_EVERY, portal, told, "record", |portal| async move {
                    audit::look_through(&portal.db, &portal.audit, portal.clock.now()).await
                })
                .await;
            }
        });
        for _ in 0..mail::SENDERS {
            let told = stopped.clone();
            loops.spawn(every(OUTBOX_EVERY, portal.clone(), stopped.clone(), "outbox", move |portal| {
                let told = told.clone();
                async move { mail::empty(&portal.db, &portal.mailer, &portal.clock, || *told.borrow()).await }
            }));
        }
        loops.spawn(every(DIGEST_EVERY, portal.clone(), stopped.clone(), "digests", |portal| async move {
            access::send_digests(&portal).await.map(drop)
        }));
        let watched = ledger.clone();
        let asks = move |portal: Data<Portal>| {
            let watched = watched.clone();
            async move { watched.end_what_was_revoked(&portal).await }
        };
        loops.spawn(every_or(ASK_EVERY, portal.audit.grown(), portal.clone(), stopped.clone(), "revocations", asks));
        let ledger = ledger.clone();
        loops.spawn(every(LEDGER_EVERY, portal.clone(), stopped.clone(), "ledger", move |portal| {
            let ledger = ledger.clone();
            async move { ledger.write(&portal.db).await }
        }));
        let (told, skip) = (stopped.clone(), Arc::new(Mutex::new(Vec::new())));
        loops.spawn(every(PROOFS_EVERY, portal.clone(), stopped.clone(), "proofs", move |portal| {
            let (told, skip) = (told.clone(), skip.clone());
            async move {
                let mut skip = skip.lock().await;
                while !*told.borrow() && catalog::prove_next(&portal, &mut skip).await? {}
                Ok(())
            }
        }));
        loops.spawn(every(SWEEP_EVERY, portal.clone(), stopped, "sweep", |portal| async move {
            portal.limits.sweep(portal.clock.now());
            portal.objects.sweep(portal.clock.now()).await?;
            mail::forget_words(&portal.db, &portal.mailer, &portal.clock).await?;
            downloads::sweep(&portal).await?;
            access::sweep(&portal).await?;
            access::sweep_applications(&portal).await?;
            privacy::forget_late(&portal).await?;
            accounts::sweep(&portal).await
        }));
        Self { loops, stop }
    }

    /// Lets each loop finish what it is at, for a while. What is cut then (a mail to a server that does not answer) comes due again.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let all = async { while self.loops.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WAIT, all).await.is_err() {
            tracing::warn!("background work was cut; it is taken up again at the next start");
            self.loops.shutdown().await;
        }
    }
}

/// Does `work` again and again, `pause` apart, until told to stop. A failure is logged and tried again.
async fn every<F: Future<Output = Result<(), Error>>>(
    pause: Duration,
    portal: Data<Portal>,
    stopped: watch::Receiver<bool>,
    name: &'static str,
    work: impl Fn(Data<Portal>) -> F,
) {
    // Of this one nothing is ever heard.
    let (_never, sooner) = watch::channel(0);
    every_or(pause, sooner, portal, stopped, name, work).await;
}

/// The same, and at once at every news of `sooner`.
async fn every_or<F: Future<Output = Result<(), Error>>>(
    pause: Duration,
    mut sooner: watch::Receiver<u64>,
    portal: Data<Portal>,
    mut stopped: watch::Receiver<bool>,
    name: &'static str,
    work: impl Fn(Data<Portal>) -> F,
) {
    loop {
        portal.jobs.begun(name, pause, portal.clock.now());
        let begun = Instant::now();
        let done = work(portal.clone()).await;
        let pause = if done.is_ok() { pause } else { pause.min(RETRY_AFTER) };
        if let Err(error) = &done {
            tracing::warn!(worker = name, %error, "will be tried again");
        }
        portal.jobs.ended(name, portal.clock.now(), begun.elapsed(), done.err().map(|error| error.to_string()));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // At once, but not in a row: the record may grow all the time.
            _ = sooner.changed() => tokio::time::sleep(AUDIT_EVERY.saturating_sub(begun.elapsed())).await,
            _ = stopped.changed() => return,
        }
    }
}
