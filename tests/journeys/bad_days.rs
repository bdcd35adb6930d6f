//! Bad days at the desk: commands that come twice, late or in the wrong order, a clock that is set back, a database that goes away.

use futures_util::future::BoxFuture;
use reqwest::Method;
use server::access::{self, Approval, DeclineReason, GrantScope, Seen};
use server::accounts::{Account, Reviewer, Role};
use server::audit;
use server::catalog::{self, Gate, Model};
use server::error::Error;
use server::ids::ApplicationId;
use server::workers::Workers;
use sqlx::PgPool;
use tests::{Line, MailServer, Security, TestPortal};
use time::Duration;

use crate::access_rules::{account, applies};
use crate::apply_and_review::case_of;
use crate::gated::{applies_for, gated};

/// What somebody does to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Claim,
    Release,
    Changes,
    Approve,
    Decline,
    Undo,
    Appeal,
    Withdraw,
}

const COMMANDS: [Command; 8] = [
    Command::Claim,
    Command::Release,
    Command::Changes,
    Command::Approve,
    Command::Decline,
    Command::Undo,
    Command::Appeal,
    Command::Withdraw,
];

/// What may have happened to an application before; the commands in order.
const PASTS: [&[Command]; 9] = [
    &[],
    &[Command::Claim],
    &[Command::Changes],
    &[Command::Approve],
    &[Command::Decline],
    &[Command::Withdraw],
    &[Command::Decline, Command::Appeal],
    &[Command::Approve, Command::Undo],
    &[Command::Claim, Command::Release],
];

struct Desk {
    portal: TestPortal,
    model: Model,
    grace: Reviewer,
}

impl Desk {
    async fn new(db: PgPool) -> Self {
        let portal = TestPortal::start(db).await;
        let id = gated(&portal, "tiny-opt").await;
        let model = catalog::find_model_by_id(&mut portal.portal.db.acquire().await.unwrap(), id).await.unwrap();
        let grace = Reviewer(account(&portal, "grace", Role::Reviewer).await);
        Self { portal, model, grace }
    }

    fn does<'a>(&'a self, command: Command, ada: &'a Account, id: ApplicationId, seen: Option<i64>) -> BoxFuture<'a, Result<(), Error>> {
        let (portal, grace) = (&self.portal.portal, &self.grace);
        Box::pin(async move {
            match command {
                Command::Claim => access::claim(portal, grace, id, seen).await,
                Command::Release => access::release(portal, grace, id, seen).await,
                Command::Changes => {
                    access::request_changes(portal, grace, id, Seen { version: seen, comments: None }, "Why so long?", vec![]).await
                }
                Command::Approve => {
                    let until = portal.clock.now() + Duration::days(30);
                    access::approve(
                        portal,
                        grace,
                        id,
                        Seen { version: seen, comments: None },
                        Approval { until, scopes: &GrantScope::ALL, note: "" },
                    )
                    .await
                    .map(drop)
                }
                Command::Decline => {
                    access::decline(portal, grace, id, Seen { version: seen, comments: None }, DeclineReason::PurposeUnclear, "Which data?")
                        .await
                }
                Command::Undo => access::undo(portal, grace, id, seen).await,
                Command::Appeal => access::appeal(portal, ada, id, "See page 3.").await,
                Command::Withdraw => access::withdraw(portal, ada.id, id).await,
            }
        })
    }

    /// Everything that is kept of an application, and how much is on record and in the outbox.
    async fn kept(&self, id: ApplicationId) -> (String, i64, i64) {
        sqlx::query_as(
            "select to_jsonb(a)::text || (select coalesce(string_agg(to_jsonb(g)::text, ',' order by g.id), '') from access_grant g where g.application_id = a.id),
                 (select count(*) from audit_event), (select count(*) from mail)
             from application a where a.id = $1",
        )
        .bind(id.uuid())
        .fetch_one(&self.portal.portal.db)
        .await
        .unwrap()
    }

    async fn version(&self, id: ApplicationId) -> i64 {
        sqlx::query_scalar("select version from application where id = $1").bind(id.uuid()).fetch_one(&self.portal.portal.db).await.unwrap()
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_comes_twice_late_or_out_of_order_leaves_no_trace(db: PgPool) {
    let desk = Desk::new(db).await;
    let (mut done, mut refused, mut people) = (0, 0, 0);
    for past in PASTS {
        for command in COMMANDS {
            people += 1;
            let ada = account(&desk.portal, &format!("ada{people}"), Role::Researcher).await;
            let id = applies(&desk.portal, &ada, &desk.model).await;
            for before in past {
                desk.does(*before, &ada, id, None).await.unwrap();
            }
            let told = |outcome: &Result<(), Error>| match outcome {
                Ok(()) => true,
                Err(Error::Conflict(_) | Error::Stale(_) | Error::Forbidden(_)) => false,
                Err(other) => panic!("{command:?} after {past:?}: {other:?}"),
            };
            // As somebody saw it who looked before, or who makes a number up.
            let version = desk.version(id).await;
            let takes_version = matches!(
                command,
                Command::Claim | Command::Release | Command::Changes | Command::Approve | Command::Decline | Command::Undo
            );
            for wrong in [version - 1, version + 1, 0, i64::MAX] {
                let before = desk.kept(id).await;
                if takes_version {
                    assert!(!told(&desk.does(command, &ada, id, Some(wrong)).await), "{command:?} after {past:?} on version {wrong}");
                }
                assert_eq!(desk.kept(id).await, before, "{command:?} after {past:?} on version {wrong}");
            }
            // In time, and then once more as a page sends it that is sent twice.
            for _ in 0..2 {
                let before = desk.kept(id).await;
                if told(&desk.does(command, &ada, id, Some(version)).await) {
                    done += 1;
                    assert_eq!(desk.version(id).await, version + 1, "{command:?} after {past:?}");
                    assert!(desk.kept(id).await.1 > before.1, "{command:?} after {past:?} is on record");
                } else {
                    refused += 1;
                    assert_eq!(desk.kept(id).await, before, "{command:?} after {past:?} was refused");
                }
            }
            assert!(desk.version(id).await <= version + 1, "{command:?} after {past:?} was done twice");
        }
    }
    assert_eq!((done, refused), (27, 117), "{} pasts, {} commands, each twice", PASTS.len(), COMMANDS.len());
    let portal = &desk.portal.portal;
    portal.audit.integrate(&portal.db).await.unwrap();
    assert_eq!(audit::verify(&portal.db, &portal.audit, &[]).await.unwrap().fault, None);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_clock_that_is_set_back_stops_nobody_and_breaks_no_proof(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);
    // Every step is earlier than the one before it.
    let steps: [(&str, &[(&str, &str)]); 6] = [
        ("claim", &[]),
        ("approve", &[("until", "2026-06-01"), ("note", "")]),
        ("undo", &[]),
        ("changes", &[("text", "Why so long?")]),
        ("comment", &[("lane", "shared"), ("text", "Take your time.")]),
        ("claim", &[]),
    ];
    for (number, (step, fields)) in steps.into_iter().enumerate() {
        portal.wait(-Duration::hours(2));
        grace.get(&case).await;
        let page = grace.post(&format!("{case}/{step}"), fields).await;
        // The last one is the applicant's turn.
        assert_eq!(page.status, if number == 5 { 409 } else { 303 }, "{step}: {}", page.text);
        ada.get(&application).await.says("demo/tiny-opt");
        assert_eq!(grace.get("/review").await.status, 200);
        assert_eq!(ada.get("/demo/tiny-opt/apply").await.status, 200);
    }
    let fields = crate::gated::answers(&ada, "/demo/tiny-opt").await;
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(ada.post("/demo/tiny-opt/apply", &fields).await.status, 303);
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-06-01"), ("note", "")]).await.status, 303);
    ada.get("/demo/tiny-opt").await.says("You have access until 1 June 2026");
    assert_eq!(grace.get("/review?view=mine").await.status, 200);
    assert_eq!(portal.admin("root").await.get("/admin/statistics").await.status, 200);

    portal.portal.audit.integrate(&portal.portal.db).await.unwrap();
    let verdict = audit::verify(&portal.portal.db, &portal.portal.audit, &[]).await.unwrap();
    assert_eq!((verdict.fault, verdict.waiting), (None, 0));
    // Right again: what was done meanwhile holds, and the mail of the decision leaves.
    portal.wait(Duration::hours(14) + Duration::minutes(10));
    while server::mail::send_next(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock).await.unwrap() {}
    ada.get("/demo/tiny-opt").await.says("You have access until 1 June 2026");
    assert_eq!(portal.mails_to(&ada.email, "access_granted").await.len(), 1);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_database_that_goes_away_in_mid_transaction_leaves_nothing_half_done(db: PgPool) {
    let (line, pool) = Line::to(&db).await;
    let portal = TestPortal::start(pool).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);
    let token = grace.csrf().await;
    let kept = async || -> (i64, i64, i64, String) {
        let sql = "select (select count(*) from audit_event), (select count(*) from mail), (select count(*) from access_grant), (select state from application)";
        sqlx::query_as(sql).fetch_one(&db).await.unwrap()
    };
    let before = kept().await;

    // The decision has saved the application and the grant, and waits to write its mail: then the line is cut.
    let mut blocker = db.begin().await.unwrap();
    sqlx::query("lock table mail in share mode").execute(&mut *blocker).await.unwrap();
    let fields = [("until", "2026-06-01"), ("note", ""), ("csrf", token.as_str())];
    let approve = grace.request(Method::POST, &format!("{case}/approve")).header("accept", "text/html").form(&fields);
    let approve = tokio::spawn(async move { approve.send().await.unwrap() });
    loop {
        let waiting =
            sqlx::query_scalar("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'");
        let waiting: i64 = waiting.fetch_one(&db).await.unwrap();
        if waiting > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    line.cut();
    let answer = approve.await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("The database does not answer; look whether this was done"));
    blocker.rollback().await.unwrap();

    // As long as it is away, everybody is told, and nobody waits for long.
    for (person, path) in [(&ada, application.as_str()), (&grace, "/review"), (&grace, &case)] {
        let page = person.get(path).await;
        assert_eq!(page.status, 503, "{path}: {}", page.text);
    }
    assert_eq!(portal.visitor().fetch("/healthz").await.status, 200, "the process lives");
    assert_eq!(portal.visitor().fetch("/readyz").await.status, 503);
    assert_eq!(kept().await, before);

    line.mend().await;
    assert_eq!(portal.visitor().fetch("/readyz").await.status, 200);
    ada.get(&application).await.says("You are first in the queue");
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-06-01"), ("note", "")]).await.status, 303);
    let (events, mails, grants, state) = kept().await;
    assert_eq!((events - before.0, mails - before.1, grants - before.2, state.as_str()), (2, 1, 1, "approved"));
    portal.portal.audit.integrate(&portal.portal.db).await.unwrap();
    assert_eq!(audit::verify(&portal.portal.db, &portal.portal.audit, &[]).await.unwrap().fault, None);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn nobody_waits_for_ever_for_what_somebody_else_has_locked(db: PgPool) {
    let portal = TestPortal::start_impatient(&db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let case = case_of(&applies_for(&ada, "/demo/tiny-opt").await);
    let events = async || -> i64 { sqlx::query_scalar("select count(*) from audit_event").fetch_one(&db).await.unwrap() };
    let before = events().await;
    // Somebody looks around with psql, and goes to lunch.
    let mut lunch = db.begin().await.unwrap();
    sqlx::query("lock table mail in share mode").execute(&mut *lunch).await.unwrap();
    let fields = [("until", "2026-06-01"), ("note", "")];
    let page = grace.post(&format!("{case}/approve"), &fields).await;
    assert_eq!(page.status, 503, "{}", page.text);
    page.says("work holds this up; look whether it was done");
    assert_eq!(events().await, before);
    lunch.rollback().await.unwrap();
    assert_eq!(grace.post(&format!("{case}/approve"), &fields).await.status, 303);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_record_that_was_changed_is_found_by_looking_through_it_every_day(db: PgPool) {
    let portal = TestPortal::start(db.clone()).await;
    let (root, day) = (portal.admin("root").await, Duration::DAY);
    let program = root.with_token(&root.makes_token(&["admin"]).await);
    let looks = async || {
        portal.portal.audit.integrate(&db).await.unwrap();
        audit::look_through(&db, &portal.portal.audit, portal.portal.clock.now()).await.unwrap();
    };
    assert!(!root.get("/admin/audit").await.text.contains("looked through"), "nobody has yet");
    let mut grown = portal.portal.audit.grown();
    looks().await;
    assert!(grown.has_changed().unwrap() && *grown.borrow_and_update() > 0, "whoever watches is told");
    looks().await;
    assert!(!grown.has_changed().unwrap(), "and not of nothing");
    root.get("/admin/audit").await.says("looked through on 2 March 2026, 09:00 UTC, and none was changed");
    root.get("/admin/jobs").await.says("looked through on 2 March 2026, 09:00 UTC");
    root.fetch("/metrics").await.says("sluice_audit_damaged 0\n");
    // Somebody who has the database, in the middle, where the log's end shows nothing.
    let quietly =
        "alter table audit_event disable trigger all; delete from audit_event where seq = 2; alter table audit_event enable trigger all";
    sqlx::raw_sql(quietly).execute(&db).await.unwrap();
    portal.wait(day);
    looks().await;
    root.get("/admin/audit")
        .await
        .says("The record is not what it was: entry 1: event 2 was removed")
        .says("Looked through on 3 March 2026, 09:00 UTC");
    root.get("/admin/jobs").await.says("damaged").says("event 2 was removed");
    root.fetch("/metrics").await.says("sluice_audit_damaged 1\n").says("sluice_audit_fault 0\n");
    let jobs = program.fetch("/api/v1/admin/jobs").await.json();
    assert_eq!((&jobs["record_fault"], &jobs["log_fault"]), (&"entry 1: event 2 was removed".into(), &serde_json::Value::Null), "{jobs}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_works_in_the_background_goes_on_where_it_was_when_the_database_is_back(db: PgPool) {
    let (line, pool) = Line::to(&db).await;
    let server = MailServer::start(Security::Plain);
    let portal = TestPortal::start_with(pool, &server.settings()).await;
    let offer = portal.offers("lab/open", Gate::Open, &[("model.safetensors", &[7; 50_000])]).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    assert_eq!(grace.post(&format!("{}/changes", case_of(&application)), &[("text", "Which data?")]).await.status, 303);
    let terminal = ada.with_token(&ada.makes_token(&["download"]).await);
    let answer = terminal.request(Method::GET, &offer.url("model.safetensors")).send().await.unwrap();
    let waiting: i64 = sqlx::query_scalar("select count(*) from audit_pending").fetch_one(&db).await.unwrap();
    let mails: i64 = sqlx::query_scalar("select count(*) from mail").fetch_one(&db).await.unwrap();
    assert!(waiting > 3 && mails > 2, "{waiting} events wait for their places, {mails} mails for their way");

    // The database goes away before any of it is done, and every loop comes to its work and fails, some again and again.
    line.cut();
    let workers = Workers::start(&portal.portal, &portal.ledger);
    assert_eq!(answer.bytes().await.unwrap().len(), 50_000, "what was begun comes to its end");
    let failed = |name: &str, times: u64| portal.portal.jobs.all().iter().any(|job| job.name == name && job.failures >= times);
    for (name, times) in [("audit log", 2), ("outbox", 2), ("digests", 1), ("ledger", 2), ("proofs", 1), ("sweep", 1)] {
        within_a_minute(async || failed(name, times)).await;
    }
    assert!(server.arrived().is_empty(), "nothing leaves that could not be noted");

    // Back again: by themselves.
    line.mend().await;
    let count = async |sql: &'static str| -> i64 { sqlx::query_scalar(sql).fetch_one(&db).await.unwrap() };
    within_a_minute(async || count("select count(*) from audit_pending").await == 0).await;
    within_a_minute(async || count("select count(*) from mail where sent_at is null").await == 0).await;
    within_a_minute(async || count("select coalesce(sum(sent_bytes), 0)::bigint from download").await == 50_000).await;
    let well = |name: &str| portal.portal.jobs.all().iter().any(|job| job.name == name && !job.failed);
    for name in ["audit log", "outbox", "ledger"] {
        within_a_minute(async || well(name)).await;
    }
    workers.stop().await;
    assert_eq!(i64::try_from(server.arrived().len()).unwrap(), mails, "each once");
    let verdict = audit::verify(&portal.portal.db, &portal.portal.audit, &[]).await.unwrap();
    assert_eq!((verdict.fault, verdict.waiting), (None, 0));

    // What is swept by the clock is swept when the database is there again, once, however often it was tried before.
    portal.wait(Duration::days(30));
    line.cut();
    for _ in 0..2 {
        assert!(matches!(access::sweep_applications(&portal.portal).await, Err(Error::Unavailable(_))));
        assert!(matches!(access::sweep(&portal.portal).await, Err(Error::Unavailable(_))));
    }
    line.mend().await;
    for _ in 0..2 {
        access::sweep_applications(&portal.portal).await.unwrap();
        access::sweep(&portal.portal).await.unwrap();
    }
    assert_eq!(portal.mails_to(&ada.email, "application_lapsed").await.len(), 1);
    assert_eq!(count("select count(*) from application where state = 'lapsed'").await, 1);
}

async fn within_a_minute(so: impl AsyncFn() -> bool) {
    let begun = std::time::Instant::now();
    while !so().await {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it did not come to pass");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
