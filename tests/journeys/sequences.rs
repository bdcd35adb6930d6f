//! Whatever is done in whatever order, by whoever and however late: what somebody may is what a plain book of what happened says, a refusal
//! leaves no trace, and what cannot both be true never is.

use server::access::{self, Action, Approval, DeclineReason, GrantScope, Seen, Sent, Verdict, authorize};
use server::accounts::{Account, Reviewer, Role, Via, Visitor};
use server::audit;
use server::catalog::{self, Model};
use server::clock::Timestamp;
use server::error::Error;
use server::ids::{ApplicationId, BlockId, GrantId, SessionId};
use sqlx::PgPool;
use tests::TestPortal;
use time::Duration;

use crate::access_rules::{account, complete};
use crate::gated::gated;
use crate::pull::soak;

/// In the short form; `make soak` runs more.
const SEQUENCES: usize = 30;
const STEPS: usize = 60;

/// What is done; [`COMMANDS`] has them in this order.
#[derive(Debug, Clone, Copy)]
enum Step {
    Apply,
    Withdraw,
    Appeal,
    Close,
    Claim,
    RequestChanges,
    Approve,
    Decline,
    Undo,
    Suspend,
    Reinstate,
    Revoke,
    Confirm,
    Reject,
    Block,
    Lift,
    Wait,
}

/// What leads on stands more often, so that sequences get somewhere.
const COMMANDS: [(Step, usize); 16] = [
    (Step::Apply, 9),
    (Step::Withdraw, 1),
    (Step::Appeal, 5),
    (Step::Close, 1),
    (Step::Claim, 2),
    (Step::RequestChanges, 2),
    (Step::Approve, 8),
    (Step::Decline, 5),
    (Step::Undo, 3),
    (Step::Suspend, 2),
    (Step::Reinstate, 2),
    (Step::Revoke, 2),
    (Step::Confirm, 2),
    (Step::Reject, 2),
    (Step::Block, 1),
    (Step::Lift, 3),
];

/// The next number of a sequence that its seed decides (splitmix64, Steele and others, 2014), below `below`.
struct Dice(u64);

impl Dice {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below as u64) as usize
    }

    fn step(&mut self) -> Step {
        if self.below(6) == 0 {
            return Step::Wait;
        }
        let mut at = self.below(COMMANDS.iter().map(|(_, weight)| weight).sum());
        let chosen = COMMANDS.iter().find(|(_, weight)| {
            let is_here = at < *weight;
            at = at.saturating_sub(*weight);
            is_here
        });
        chosen.expect("the weights add up").0
    }
}

/// Access as the book has it.
#[derive(Debug, Clone, Copy)]
struct Held {
    id: GrantId,
    of: ApplicationId,
    until: Timestamp,
    is_suspended: bool,
    /// Which reviewer has proposed to revoke it.
    proposed: Option<usize>,
}

/// What happened, as far as it decides what comes next; kept apart from the portal, of what it said was done.
#[derive(Debug, Default)]
struct Book {
    application: Option<ApplicationId>,
    is_open: bool,
    /// The last decline that stands.
    declined_at: Option<Timestamp>,
    /// Who declined it last.
    decliner: Option<usize>,
    /// The decline that stood before the last decision, which taking that back brings back.
    before: (Option<Timestamp>, Option<usize>),
    /// Against whose decline there was an appeal.
    against: Option<usize>,
    /// The grant that has not ended by anybody's hand.
    held: Option<Held>,
    bars: Vec<(BlockId, Timestamp)>,
}

impl Book {
    fn is_barred(&self, now: Timestamp) -> bool {
        self.bars.iter().any(|(_, until)| now < *until)
    }

    fn runs(&self, now: Timestamp) -> Option<Held> {
        self.held.filter(|held| now < held.until)
    }

    fn may_download(&self, now: Timestamp) -> bool {
        !self.is_barred(now) && self.runs(now).is_some_and(|held| !held.is_suspended && held.proposed.is_none())
    }

    fn may_begin(&self, now: Timestamp) -> bool {
        let has_waited = self.declined_at.is_none_or(|at| now >= at + Duration::days(14));
        !self.is_open && !self.is_barred(now) && self.runs(now).is_none() && has_waited
    }
}

struct Room {
    portal: TestPortal,
    model: Model,
    ada: Account,
    reviewers: [Reviewer; 2],
}

impl Room {
    async fn may_download(&self, now: Timestamp) -> bool {
        let ada = Visitor::Known { account: self.ada.clone(), via: Via::Session(SessionId::fresh()) };
        let mut db = self.portal.portal.db.acquire().await.unwrap();
        matches!(authorize(&mut db, &ada, &self.model, Action::Download, now).await.unwrap(), Verdict::Allowed(_))
    }

    /// How many events and mails there are.
    async fn traces(&self) -> (i64, i64) {
        let counts = sqlx::query_as("select (select count(*) from audit_event), (select count(*) from mail)");
        counts.fetch_one(&self.portal.portal.db).await.unwrap()
    }

    /// Does it, keeps in `book` what came of it, and says whether it was done. What the book says cannot be done is not.
    async fn take(&self, step: Step, who: usize, dice: &mut Dice, book: &mut Book) -> Result<(), Error> {
        let (portal, by) = (&self.portal.portal, &self.reviewers[who]);
        let now = portal.clock.now();
        let application = book.application.unwrap_or_else(ApplicationId::fresh);
        let grant = book.held.map_or_else(GrantId::fresh, |held| held.id);
        match step {
            Step::Apply => {
                let may = book.may_begin(now);
                let done = access::submit(portal, &self.ada, &self.model, complete(&self.model), None).await;
                match &done {
                    Ok(Sent::Fresh(id)) => {
                        assert!(may, "{book:?}");
                        *book = Book { application: Some(*id), is_open: true, held: book.held, bars: book.bars.clone(), ..Book::default() };
                    }
                    Ok(Sent::Again(id)) => assert_eq!((Some(*id), book.is_open), (book.application, true)),
                    Ok(Sent::Already(_)) => return Err(Error::Conflict("sent before".into())),
                    Err(Error::Limited { .. }) => {}
                    Err(refused) => assert!(!may, "{refused}: {book:?}"),
                }
                done.map(drop)
            }
            Step::Withdraw => {
                access::withdraw(portal, self.ada.id, application).await?;
                assert!(book.is_open);
                book.is_open = false;
                Ok(())
            }
            Step::Appeal => {
                access::appeal(portal, &self.ada, application, "See page 3.").await?;
                assert!(!book.is_open && book.against.is_none() && book.declined_at.is_some() && !book.is_barred(now));
                (book.is_open, book.against) = (true, book.decliner);
                Ok(())
            }
            Step::Close => {
                let may = book.runs(now).is_some_and(|held| !held.is_suspended && held.proposed.is_none());
                let done = access::close(portal, self.ada.id, grant, true).await;
                assert_eq!(done.is_ok(), may, "{book:?}");
                book.held = if done.is_ok() { None } else { book.held };
                done.map(drop)
            }
            Step::Claim => access::claim(portal, by, application, None).await,
            Step::RequestChanges => access::request_changes(portal, by, application, Seen::default(), "Why so long?", vec![]).await,
            Step::Approve => {
                let until = now + Duration::days(1 + dice.below(90) as i64);
                let approval = Approval { until, scopes: &GrantScope::ALL, note: "" };
                let given = access::approve(portal, by, application, Seen::default(), approval).await?;
                assert!(book.is_open && !book.is_barred(now) && book.runs(now).is_none() && book.against != Some(who), "{book:?}");
                book.before = (book.declined_at, book.decliner);
                (book.is_open, book.declined_at) = (false, None);
                book.held = Some(Held { id: given.id, of: application, until, is_suspended: false, proposed: None });
                Ok(())
            }
            Step::Decline => {
                access::decline(portal, by, application, Seen::default(), DeclineReason::PurposeUnclear, "Which data?").await?;
                assert!(book.is_open && book.against != Some(who), "{book:?}");
                book.before = (book.declined_at, book.decliner);
                (book.is_open, book.declined_at, book.decliner) = (false, Some(now), Some(who));
                Ok(())
            }
            Step::Undo => {
                access::undo(portal, by, application, None).await?;
                assert!(!book.is_open);
                book.is_open = true;
                (book.declined_at, book.decliner) = book.before;
                book.held = book.held.filter(|held| held.of != application);
                Ok(())
            }
            Step::Suspend => {
                let may = book.runs(now).is_some_and(|held| !held.is_suspended);
                let done = access::suspend(portal, by, grant, "looked into").await;
                assert_eq!(done.is_ok(), may, "{book:?}");
                book.held = book.held.map(|held| Held { is_suspended: held.is_suspended || may, ..held });
                done.map(drop)
            }
            Step::Reinstate => {
                let may = book.runs(now).is_some_and(|held| held.is_suspended);
                let done = access::reinstate(portal, by, grant).await;
                assert_eq!(done.is_ok(), may, "{book:?}");
                book.held = book.held.map(|held| Held { is_suspended: held.is_suspended && !may, ..held });
                done.map(drop)
            }
            Step::Revoke => {
                let may = book.runs(now).is_some_and(|held| held.proposed.is_none());
                let done = access::revoke(portal, Some(by.0.id), grant, "passed on").await;
                assert_eq!(done.is_ok(), may, "{book:?}");
                book.held = book.held.map(|held| Held { proposed: if may { Some(who) } else { held.proposed }, ..held });
                done.map(drop)
            }
            Step::Confirm | Step::Reject => {
                let may = book.runs(now).is_some_and(|held| held.proposed.is_some_and(|proposer| proposer != who));
                let done = match step {
                    Step::Confirm => access::confirm_revocation(portal, by, grant).await,
                    _ => access::reject_revocation(portal, by, grant).await,
                };
                assert_eq!(done.is_ok(), may, "{book:?}");
                book.held = match (may, step) {
                    (true, Step::Confirm) => None,
                    (true, _) => book.held.map(|held| Held { proposed: None, ..held }),
                    (false, _) => book.held,
                };
                done.map(drop)
            }
            Step::Block => {
                let until = now + Duration::days(1 + dice.below(30) as i64);
                let model = [None, Some(self.model.id)][dice.below(2)];
                let block = access::block::set(portal, by, self.ada.id, model, until, "harassed a reviewer").await?;
                book.bars.push((block.id, until));
                Ok(())
            }
            Step::Lift => {
                let standing: Vec<BlockId> = book.bars.iter().filter(|(_, until)| now < *until).map(|(id, _)| *id).collect();
                let id = if standing.is_empty() { BlockId::fresh() } else { standing[dice.below(standing.len())] };
                let done = access::block::lift(portal, by, self.ada.id, id).await;
                assert_eq!(done.is_ok(), !standing.is_empty(), "{book:?}");
                book.bars.retain(|(bar, _)| *bar != id);
                done.map(drop)
            }
            Step::Wait => {
                let times = [Duration::minutes(3), Duration::hours(7), Duration::days(5), Duration::days(40)];
                self.portal.wait(times[dice.below(times.len())]);
                Ok(())
            }
        }
    }

    /// What must not be, whatever happened.
    async fn contradictions(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select 'two applications are open' from application where state in ('draft', 'submitted', 'changes_requested')
             group by account_id, model_id having count(*) > 1
             union all
             select 'two grants run' from access_grant where revoked_at is null group by account_id, model_id having count(*) > 1
             union all
             select 'an application is open beside a grant that runs' from application a join access_grant g using (account_id, model_id)
             where a.state in ('submitted', 'changes_requested') and g.revoked_at is null and g.expires_at > $1",
        )
        .bind(self.portal.portal.clock.now())
        .fetch_all(&self.portal.portal.db)
        .await
        .unwrap()
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whatever_is_done_in_whatever_order_is_what_a_plain_book_of_it_says(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let reviewers =
        [Reviewer(account(&portal, "grace", Role::Reviewer).await), Reviewer(account(&portal, "barbara", Role::Reviewer).await)];
    let id = gated(&portal, "tiny-opt").await;
    sqlx::query("insert into access_policy (model_id, revoke_needs_two, trial_tokens, answer_days, reapply_days, changed_at) values ($1, true, 0, 7, 14, now())")
        .bind(id.uuid())
        .execute(&portal.portal.db)
        .await
        .unwrap();
    let model = catalog::find_model_by_id(&mut portal.portal.db.acquire().await.unwrap(), id).await.unwrap();
    let ada = account(&portal, "ada", Role::Researcher).await;
    let mut room = Room { portal, model, ada, reviewers };
    let mut done = [0; COMMANDS.len()];
    for seed in 0..soak("SLUICE_SOAK_SEQUENCES", SEQUENCES) as u64 {
        room.ada = account(&room.portal, &format!("ada{seed}"), Role::Researcher).await;
        let (mut dice, mut book, mut story) = (Dice(seed), Book::default(), vec![]);
        for _ in 0..STEPS {
            let step = dice.step();
            let who = dice.below(2);
            story.push((step, who));
            let before = room.traces().await;
            let came = room.take(step, who, &mut dice, &mut book).await;
            let after = room.traces().await;
            match (&came, step) {
                (_, Step::Wait) => continue,
                (Ok(()), _) => assert!(after.0 > before.0, "seed {seed}, {story:?}: nothing is on record"),
                (Err(_), _) => assert_eq!(after, before, "seed {seed}, {story:?}: a refusal left a trace"),
            }
            done[step as usize] += usize::from(came.is_ok());
            let now = room.portal.portal.clock.now();
            for later in [now, now + Duration::days(20), now + Duration::days(60)] {
                assert_eq!(room.may_download(later).await, book.may_download(later), "seed {seed}, {later}: {story:?} {book:?}");
            }
            assert_eq!(room.contradictions().await, Vec::<String>::new(), "seed {seed}: {story:?}");
        }
    }
    room.portal.portal.audit.integrate(&room.portal.portal.db).await.unwrap();
    let verdict = audit::verify(&room.portal.portal.db, &room.portal.portal.audit, &[]).await.unwrap();
    assert_eq!((verdict.fault, verdict.waiting), (None, 0));
    println!("done: {done:?} of {COMMANDS:?}");
    assert!(done.iter().all(|times| *times > 0), "not everything was ever done: {done:?} of {COMMANDS:?}");
}
