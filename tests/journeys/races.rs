//! Two people at one application in the same moment, ten thousand times: exactly one wins, the other is told, and no event is lost.

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use server::access::{self, Approval, DeclineReason, GrantScope, Seen};
use server::accounts::{self, Reviewer, Role};
use server::audit;
use server::catalog::{self, Model};
use server::error::Error;
use server::ids::{AccountId, ApplicationId};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use sqlx::types::Uuid;
use tests::TestPortal;
use time::Duration;

use crate::access_rules::{account, applies};
use crate::gated::gated;
use crate::pull::soak;

/// In the short form; `make soak` runs ten thousand of all pairs, and ten thousand of those of reviewers alone.
const RACES: usize = 1_200;
const REVIEWER_RACES: usize = 300;
/// So many applications are fought for at once, by twice as many connections.
const AT_ONCE: usize = 8;

/// What two people do at once. Of each pair only one can be done, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pair {
    ApproveDecline,
    ApproveApprove,
    ApproveChanges,
    ApproveWithdraw,
    DeclineWithdraw,
    ApproveGive,
    ClaimClaim,
    ClaimDecline,
    WithdrawWithdraw,
    UndoUndo,
    UndoAppeal,
    AppealAppeal,
}

const PAIRS: [Pair; 12] = [
    Pair::ApproveDecline,
    Pair::ApproveApprove,
    Pair::ApproveChanges,
    Pair::ApproveWithdraw,
    Pair::DeclineWithdraw,
    Pair::ApproveGive,
    Pair::ClaimClaim,
    Pair::ClaimDecline,
    Pair::WithdrawWithdraw,
    Pair::UndoUndo,
    Pair::UndoAppeal,
    Pair::AppealAppeal,
];

/// The pairs of which both are reviewers.
const REVIEWERS: [Pair; 5] = [Pair::ApproveDecline, Pair::ApproveApprove, Pair::ApproveChanges, Pair::ClaimClaim, Pair::ClaimDecline];

/// Everybody who takes part.
struct Desk {
    portal: TestPortal,
    model: Model,
    grace: Reviewer,
    barbara: Reviewer,
    /// The version in which each application comes into its race.
    sent_version: i64,
}

type Attempt<'a> = BoxFuture<'a, Result<(), Error>>;

fn done<'a, T>(attempt: impl Future<Output = Result<T, Error>> + Send + 'a) -> Attempt<'a> {
    Box::pin(async move { attempt.await.map(drop) })
}

impl Desk {
    /// A desk with as many applications as there are races, each of an applicant of its own: copies of one that was sent.
    async fn with(db: PgPool, races: usize) -> (Self, Vec<(AccountId, ApplicationId)>) {
        let connections =
            PgPoolOptions::new().max_connections(2 * AT_ONCE as u32).connect_with((*db.connect_options()).clone()).await.unwrap();
        let portal = TestPortal::start(connections).await;
        let (grace, barbara) =
            (Reviewer(account(&portal, "grace", Role::Reviewer).await), Reviewer(account(&portal, "barbara", Role::Reviewer).await));
        let id = gated(&portal, "tiny-opt").await;
        let model = catalog::find_model_by_id(&mut portal.portal.db.acquire().await.unwrap(), id).await.unwrap();
        let ada = account(&portal, "ada", Role::Researcher).await;
        let sent = applies(&portal, &ada, &model).await;
        let sent_version = sqlx::query_scalar("select version from application where id = $1")
            .bind(sent.uuid())
            .fetch_one(&portal.portal.db)
            .await
            .unwrap();
        let copies: Vec<(Uuid, Uuid)> = sqlx::query_as(
            "with people as (
                 insert into account (id, email, name, role, email_verified_at, created_at)
                 select gen_random_uuid(), 'racer' || n || '@lab.example', a.name, a.role, a.email_verified_at, a.created_at
                 from account a, generate_series(1, $3) n where a.id = $1 returning id
             )
             insert into application select (jsonb_populate_record(p, jsonb_build_object('id', gen_random_uuid(), 'account_id', people.id))).*
             from application p, people where p.id = $2 returning account_id, id",
        )
        .bind(ada.id.uuid())
        .bind(sent.uuid())
        .bind(races as i32)
        .fetch_all(&portal.portal.db)
        .await
        .unwrap();
        let cases = copies.into_iter().map(|(account, id)| (AccountId::from(account), ApplicationId::from(id))).collect();
        (Self { portal, model, grace, barbara, sent_version }, cases)
    }

    async fn approve(&self, by: &Reviewer, id: ApplicationId, seen: Option<i64>) -> Result<(), Error> {
        let until = self.portal.portal.clock.now() + Duration::days(30);
        access::approve(
            &self.portal.portal,
            by,
            id,
            Seen { version: seen, comments: None },
            Approval { until, scopes: &GrantScope::ALL, note: "" },
        )
        .await
        .map(drop)
    }

    async fn decline(&self, by: &Reviewer, id: ApplicationId, seen: Option<i64>) -> Result<(), Error> {
        access::decline(&self.portal.portal, by, id, Seen { version: seen, comments: None }, DeclineReason::PurposeUnclear, "Which data?")
            .await
    }

    /// One race, of which one wins, and whoever lost was told. Returns whether it was the first.
    async fn race(&self, pair: Pair, applicant: AccountId, id: ApplicationId) -> bool {
        let (portal, seen) = (&self.portal.portal, Some(self.sent_version));
        match pair {
            Pair::UndoUndo => self.approve(&self.grace, id, None).await.unwrap(),
            Pair::UndoAppeal | Pair::AppealAppeal => self.decline(&self.grace, id, None).await.unwrap(),
            _ => {}
        }
        let ada = accounts::find_account(&mut portal.db.acquire().await.unwrap(), applicant).await.unwrap();
        let withdraw = || done(access::withdraw(portal, applicant, id));
        let appeal = || done(access::appeal(portal, &ada, id, "See page 3."));
        let (first, second): (Attempt<'_>, Attempt<'_>) = match pair {
            Pair::ApproveDecline => (done(self.approve(&self.grace, id, None)), done(self.decline(&self.barbara, id, None))),
            Pair::ApproveApprove => (done(self.approve(&self.grace, id, None)), done(self.approve(&self.barbara, id, None))),
            Pair::ApproveChanges => {
                let changes = access::request_changes(portal, &self.barbara, id, Seen::default(), "Why so long?", vec![]);
                (done(self.approve(&self.grace, id, None)), done(changes))
            }
            Pair::ApproveWithdraw => (done(self.approve(&self.grace, id, None)), withdraw()),
            Pair::DeclineWithdraw => (done(self.decline(&self.grace, id, None)), withdraw()),
            Pair::ApproveGive => {
                (done(self.approve(&self.grace, id, None)), done(access::give(portal, None, &ada, &self.model, "agreed by mail", 30)))
            }
            // These two could both be done, one after the other, so each says what it has seen.
            Pair::ClaimClaim => (done(access::claim(portal, &self.grace, id, seen)), done(access::claim(portal, &self.barbara, id, seen))),
            Pair::ClaimDecline => (done(access::claim(portal, &self.grace, id, seen)), done(self.decline(&self.barbara, id, seen))),
            Pair::WithdrawWithdraw => (withdraw(), withdraw()),
            Pair::UndoUndo => (done(access::undo(portal, &self.grace, id, None)), done(access::undo(portal, &self.grace, id, None))),
            Pair::UndoAppeal => (done(access::undo(portal, &self.grace, id, None)), appeal()),
            Pair::AppealAppeal => (appeal(), appeal()),
        };
        match tokio::join!(first, second) {
            (Ok(()), Err(Error::Conflict(told) | Error::Stale(told))) => {
                assert!(!told.is_empty());
                true
            }
            (Err(Error::Conflict(told) | Error::Stale(told)), Ok(())) => {
                assert!(!told.is_empty());
                false
            }
            other => panic!("{pair:?}: {other:?}"),
        }
    }

    /// What no race may leave behind: the first rows that contradict each other.
    async fn contradictions(&self, of: &[ApplicationId]) -> Vec<String> {
        let ids: Vec<Uuid> = of.iter().map(|id| id.uuid()).collect();
        let names: Vec<String> = of.iter().map(ToString::to_string).collect();
        let sql = "
            select a.state || ' ' || c.name || ': version ' || a.version || ', ' || e.events || ' events, ' || g.held || ' grants, ' || m.held || ' mails held'
            from unnest($1::uuid[], $2::text[]) c(id, name)
            join application a on a.id = c.id
            cross join lateral (select count(*) as events from audit_event where subject = c.name) e
            cross join lateral (select count(*) as held from access_grant where application_id = a.id and revoked_at is null) g
            cross join lateral (select count(*) as held from mail where held_for = c.name) m
            where e.events <> a.version - $3
               or g.held <> (a.state = 'approved')::int
               or m.held <> (a.state in ('approved', 'declined'))::int and not a.appealed_at is not null
            limit 5";
        sqlx::query_scalar(sql).bind(&ids).bind(&names).bind(self.sent_version).fetch_all(&self.portal.portal.db).await.unwrap()
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn of_two_at_once_exactly_one_wins_and_no_event_is_lost(db: PgPool) {
    println!("{}", fight(db, &PAIRS, soak("SLUICE_SOAK_RACES", RACES)).await);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn of_two_reviewers_at_once_exactly_one_wins_and_no_event_is_lost(db: PgPool) {
    println!("{}", fight(db, &REVIEWERS, soak("SLUICE_SOAK_REVIEWER_RACES", REVIEWER_RACES)).await);
}

/// So many races, of these pairs in turn; says what came of them.
async fn fight(db: PgPool, pairs: &[Pair], races: usize) -> String {
    let races = races.next_multiple_of(pairs.len());
    let (desk, cases) = Desk::with(db, races).await;
    assert_eq!(cases.len(), races);
    let portal = &desk.portal.portal;
    let before: i64 = sqlx::query_scalar("select count(*) from audit_event").fetch_one(&portal.db).await.unwrap();
    let all = cases.iter().zip(pairs.iter().cycle()).map(|((applicant, id), pair)| desk.race(*pair, *applicant, *id));
    let won: Vec<bool> = stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
    assert_eq!(won.len(), races);

    let ids: Vec<ApplicationId> = cases.iter().map(|(_, id)| *id).collect();
    assert_eq!(desk.contradictions(&ids).await, Vec::<String>::new());
    // Of two who gave access in two ways, one did.
    let twice: i64 = sqlx::query_scalar(
        "select count(*) from (select account_id from access_grant where revoked_at is null group by account_id having count(*) > 1) x",
    )
    .fetch_one(&portal.db)
    .await
    .unwrap();
    assert_eq!(twice, 0);
    // Every event has its place in the log, which is whole.
    portal.audit.integrate(&portal.db).await.unwrap();
    let verdict = audit::verify(&portal.db, &portal.audit, &[]).await.unwrap();
    let events: i64 = sqlx::query_scalar("select count(*) from audit_event").fetch_one(&portal.db).await.unwrap();
    assert_eq!((verdict.fault, verdict.waiting, verdict.entries), (None, 0, events.unsigned_abs()));
    let (first, events) = (won.iter().filter(|first| **first).count(), events - before);
    assert!(events as usize >= races, "{events} events of {races} races");
    format!(
        "{races} races of {} pairs: {races} winners ({first} the first named, {} the second), {races} losers who were told, {events} events",
        pairs.len(),
        races - first
    )
}
