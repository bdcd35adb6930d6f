//! The rules of access under a real database: races, what commits together, and the one question for every standing.

use server::access::{self, Action, Answers, Approval, DeclineReason, Form, GrantScope, Seen, Sent, Verdict, authorize};
use server::accounts::{self, Account, Email, Reviewer, Role, Scope, Via, Visitor};
use server::audit;
use server::catalog::{self, Model};
use server::clock::Timestamp;
use server::error::Error;
use server::ids::{ApplicationId, SessionId, TokenId};
use server::mail;
use sqlx::PgPool;
use tests::TestPortal;
use time::Duration;

use crate::gated::{LICENCE, gated, prepared, relicense};

/// Races are run so often, each on an application of its own.
const TRIALS: usize = 40;

pub async fn account(portal: &TestPortal, name: &str, role: Role) -> Account {
    let email = Email::parse(&format!("{name}@lab.example")).unwrap();
    accounts::add_account(&portal.portal, &email, name, role, None).await.unwrap()
}

async fn model(portal: &TestPortal, name: &str) -> Model {
    let id = gated(portal, name).await;
    catalog::find_model_by_id(&mut portal.portal.db.acquire().await.unwrap(), id).await.unwrap()
}

fn everything(until: Timestamp) -> Approval<'static> {
    Approval { until, scopes: &GrantScope::ALL, note: "" }
}

pub fn complete(model: &Model) -> Answers {
    let mut fields = prepared();
    fields.push(("licence_shown".into(), model.licence_sha256.clone().unwrap_or_default()));
    let clauses = [
        "non_commercial",
        "no_military",
        "no_surveillance",
        "no_biometrics",
        "no_harm",
        "lawful",
        "no_sublicence",
        "attribution",
        "stop",
        "deletion",
        "no_sharing",
        "adult",
        "privacy",
    ];
    fields.extend(clauses.iter().map(|clause| (format!("agree_{clause}"), "on".to_owned())));
    Answers::from_fields(Form::built_in(), fields)
}

pub async fn applies(portal: &TestPortal, applicant: &Account, model: &Model) -> ApplicationId {
    match access::submit(&portal.portal, applicant, model, complete(model), None).await.unwrap() {
        Sent::Fresh(id) => id,
        Sent::Again(id) | Sent::Already(id) => panic!("{id} was sent before"),
    }
}

async fn events(portal: &TestPortal, subject: &str) -> Vec<String> {
    let filter = audit::Filter { subjects: Some(vec![subject.to_owned()]), ..Default::default() };
    let rows = audit::page(&mut portal.portal.db.acquire().await.unwrap(), &filter, 100).await.unwrap();
    rows.into_iter().rev().map(|row| row.kind).collect()
}

async fn mails(portal: &TestPortal) -> usize {
    mail::page(&mut portal.portal.db.acquire().await.unwrap(), &mail::Filter::default(), 100_000).await.unwrap().len()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn of_two_reviewers_deciding_at_once_exactly_one_wins_and_the_other_is_told(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (grace, barbara) = (account(&portal, "grace", Role::Reviewer).await, account(&portal, "barbara", Role::Reviewer).await);
    let (grace, barbara) = (Reviewer(grace), Reviewer(barbara));
    let model = model(&portal, "tiny-opt").await;
    let (mut approved, mut declined) = (0, 0);
    for trial in 0..TRIALS {
        let ada = account(&portal, &format!("ada{trial}"), Role::Researcher).await;
        let id = applies(&portal, &ada, &model).await;
        let before = mails(&portal).await;
        let until = portal.portal.clock.now() + Duration::days(30);
        let (yes, no) = tokio::join!(
            access::approve(&portal.portal, &grace, id, Seen::default(), everything(until)),
            access::decline(&portal.portal, &barbara, id, Seen::default(), DeclineReason::PurposeUnclear, "Which data?"),
        );
        match (&yes, &no) {
            (Ok(_), Err(Error::Conflict(told))) => {
                assert!(told.contains("grace has approved this application on"), "{told}");
                approved += 1;
            }
            (Err(Error::Conflict(told)), Ok(())) => {
                assert!(told.contains("barbara has declined (The purpose is not clear)"), "{told}");
                declined += 1;
            }
            other => panic!("trial {trial}: {other:?}"),
        }
        let decisions: Vec<String> = events(&portal, &id.to_string()).await.split_off(1);
        assert_eq!(decisions, [if yes.is_ok() { "application.approved" } else { "application.declined" }]);
        assert_eq!(mails(&portal).await, before + 1, "one mail for one decision");
        let grants = access::grants_of(&mut portal.portal.db.acquire().await.unwrap(), ada.id).await.unwrap();
        assert_eq!(grants.len(), usize::from(yes.is_ok()));
    }
    assert_eq!(approved + declined, TRIALS);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_decision_and_a_withdrawal_at_once_leave_one_truth(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let grace = Reviewer(account(&portal, "grace", Role::Reviewer).await);
    let model = model(&portal, "tiny-opt").await;
    for trial in 0..TRIALS {
        let ada = account(&portal, &format!("ada{trial}"), Role::Researcher).await;
        let id = applies(&portal, &ada, &model).await;
        let until = portal.portal.clock.now() + Duration::days(30);
        let (yes, back) = tokio::join!(
            access::approve(&portal.portal, &grace, id, Seen::default(), everything(until)),
            access::withdraw(&portal.portal, ada.id, id)
        );
        assert!(yes.is_ok() != back.is_ok(), "trial {trial}: {yes:?} {back:?}");
        let grants = access::grants_of(&mut portal.portal.db.acquire().await.unwrap(), ada.id).await.unwrap();
        assert_eq!(grants.len(), usize::from(yes.is_ok()));
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_form_sent_twice_becomes_one_application(db: PgPool) {
    let portal = TestPortal::start(db).await;
    account(&portal, "grace", Role::Reviewer).await;
    let model = model(&portal, "tiny-opt").await;
    for trial in 0..TRIALS {
        let ada = account(&portal, &format!("ada{trial}"), Role::Researcher).await;
        let before = mails(&portal).await;
        let (first, second) = tokio::join!(
            access::submit(&portal.portal, &ada, &model, complete(&model), None),
            access::submit(&portal.portal, &ada, &model, complete(&model), None),
        );
        let (fresh, already) = match (first.unwrap(), second.unwrap()) {
            (Sent::Fresh(fresh), Sent::Already(already)) | (Sent::Already(already), Sent::Fresh(fresh)) => (fresh, already),
            other => panic!("trial {trial}: {other:?}"),
        };
        assert_eq!(fresh, already);
        assert_eq!(events(&portal, &fresh.to_string()).await, ["application.submitted"]);
        assert_eq!(mails(&portal).await, before + 2, "a receipt, and a mail to the reviewer");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_does_not_commit_leaves_no_record_and_no_mail(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let grace = Reviewer(account(&portal, "grace", Role::Reviewer).await);
    let (model, ada) = (model(&portal, "tiny-opt").await, account(&portal, "ada", Role::Researcher).await);
    let id = applies(&portal, &ada, &model).await;
    let before = mails(&portal).await;
    // The mail is the last statement of a decision; when it cannot be written, nothing of the decision may stay.
    sqlx::query("alter table mail add constraint broken_ck check (kind <> 'access_granted')").execute(&portal.portal.db).await.unwrap();
    let until = portal.portal.clock.now() + Duration::days(30);
    let refused = access::approve(&portal.portal, &grace, id, Seen::default(), everything(until)).await;
    assert!(matches!(refused, Err(Error::Internal(_))), "{refused:?}");
    assert_eq!(events(&portal, &id.to_string()).await, ["application.submitted"]);
    assert_eq!(mails(&portal).await, before);
    sqlx::query("alter table mail drop constraint broken_ck").execute(&portal.portal.db).await.unwrap();

    let grant = access::approve(&portal.portal, &grace, id, Seen::default(), everything(until)).await.unwrap();
    assert_eq!(events(&portal, &id.to_string()).await, ["application.submitted", "application.approved"]);
    assert_eq!(events(&portal, &grant.id.to_string()).await, ["grant.made"]);
    assert_eq!(mails(&portal).await, before + 1);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_record_is_append_only(db: PgPool) {
    let portal = TestPortal::start(db).await;
    account(&portal, "grace", Role::Reviewer).await;
    for statement in ["update audit_event set kind = 'other'", "delete from audit_event", "truncate audit_event"] {
        let refused = sqlx::query(statement).execute(&portal.portal.db).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn attestations_are_one_record_a_clause_bound_to_the_text_that_was_shown(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (model, ada) = (model(&portal, "tiny-opt").await, account(&portal, "ada", Role::Researcher).await);
    let answers = complete(&model);
    let changed = relicense(&portal, Some(model.id), "Another licence.", portal.portal.clock.now()).await;
    let changed_model = Model { licence_sha256: Some(changed), ..model.clone() };
    let refused = access::submit(&portal.portal, &ada, &changed_model, answers, None).await;
    assert!(matches!(&refused, Err(Error::Invalid(faults)) if faults.len() == 1 && faults[0].field == "licence_shown"), "{refused:?}");

    relicense(&portal, Some(model.id), LICENCE, portal.portal.clock.now()).await;
    let id = applies(&portal, &ada, &model).await;
    let rows: Vec<(String, Option<String>)> =
        sqlx::query_as("select clause, licence_sha256 from attestation where application_id = $1 order by clause")
            .bind(id.uuid())
            .fetch_all(&portal.portal.db)
            .await
            .unwrap();
    assert_eq!(rows.len(), 14, "thirteen clauses and the capacity");
    for (clause, licence) in rows {
        assert_eq!(licence, if clause.starts_with("site-") { None } else { model.licence_sha256.clone() }, "{clause}");
    }
}

/// Asks about the one model, and about many at once, which has to come to the same.
async fn verdict(portal: &TestPortal, visitor: &Visitor, model: &Model, action: Action, now: Timestamp) -> Result<(), &'static str> {
    let open = Model { id: server::ids::ModelId::fresh(), gate: catalog::Gate::Open, ..model.clone() };
    let mut db = portal.portal.db.acquire().await.unwrap();
    let each = access::authorize_each(&mut db, visitor, &[open, model.clone()], action, now).await.unwrap();
    assert_eq!(each[1], authorize(&mut db, visitor, model, action, now).await.unwrap());
    drop(db);
    match authorize(&mut portal.portal.db.acquire().await.unwrap(), visitor, model, action, now).await.unwrap() {
        Verdict::Allowed(_) => Ok(()),
        Verdict::Refused(refusal) => Err(refusal.code),
    }
}

fn at_browser(account: &Account) -> Visitor {
    Visitor::Known { account: account.clone(), via: Via::Session(SessionId::fresh()) }
}

fn at_terminal(account: &Account, scopes: &[Scope], now: Timestamp) -> Visitor {
    let via = Via::Token {
        id: TokenId::fresh(),
        name: "laptop".into(),
        scopes: scopes.to_vec(),
        created_at: now,
        expires_at: now + Duration::DAY,
    };
    Visitor::Known { account: account.clone(), via }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_one_question_is_answered_by_where_somebody_stands(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let grace = Reviewer(account(&portal, "grace", Role::Reviewer).await);
    let (model, ada) = (model(&portal, "tiny-opt").await, account(&portal, "ada", Role::Researcher).await);
    let now = portal.portal.clock.now();
    let ask = async |at| {
        let download = verdict(&portal, &at_browser(&ada), &model, Action::Download, at).await;
        for action in [Action::Try, Action::Generate] {
            assert_eq!(download, verdict(&portal, &at_browser(&ada), &model, action, at).await, "every action, one answer");
        }
        download
    };

    assert_eq!(ask(now).await, Err("no_application"));
    access::save_draft(&portal.portal, &ada, &model, Answers::default(), None).await.unwrap();
    assert_eq!(ask(now).await, Err("application_draft"));
    let first = applies(&portal, &ada, &model).await;
    assert_eq!(ask(now).await, Err("application_pending"));
    access::decline(&portal.portal, &grace, first, Seen::default(), DeclineReason::PurposeUnclear, "Which data?").await.unwrap();
    assert_eq!(ask(now).await, Err("application_declined"));

    portal.wait(Duration::days(14));
    let now = portal.portal.clock.now();
    let second = applies(&portal, &ada, &model).await;
    let end = now + Duration::days(30);
    let grant = access::approve(&portal.portal, &grace, second, Seen::default(), everything(end)).await.unwrap();
    assert_eq!(ask(end - Duration::microseconds(1)).await, Ok(()));
    assert_eq!(ask(end).await, Err("grant_expired"), "at the very moment");

    access::revoke(&portal.portal, Some(grace.0.id), grant.id, "passed on").await.unwrap();
    assert_eq!(ask(now + Duration::HOUR).await, Err("grant_revoked"));

    portal.wait(Duration::MINUTE);
    let third = applies(&portal, &ada, &model).await;
    assert_eq!(ask(now + Duration::HOUR).await, Err("application_pending"), "hope outweighs history");
    access::approve(&portal.portal, &grace, third, Seen::default(), everything(end)).await.unwrap();
    assert_eq!(ask(now + Duration::HOUR).await, Ok(()));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_grant_that_expired_gives_way_to_the_next_and_stays_expired_in_the_books(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let grace = Reviewer(account(&portal, "grace", Role::Reviewer).await);
    let (model, ada) = (model(&portal, "tiny-opt").await, account(&portal, "ada", Role::Researcher).await);
    for round in 1..=3 {
        let id = applies(&portal, &ada, &model).await;
        let now = portal.portal.clock.now();
        access::approve(&portal.portal, &grace, id, Seen::default(), everything(now + Duration::days(10))).await.unwrap();
        assert_eq!(verdict(&portal, &at_browser(&ada), &model, Action::Download, now).await, Ok(()));
        portal.wait(Duration::days(11));
        let later = portal.portal.clock.now();
        assert_eq!(verdict(&portal, &at_browser(&ada), &model, Action::Download, later).await, Err("grant_expired"));
        let grants = access::grants_of(&mut portal.portal.db.acquire().await.unwrap(), ada.id).await.unwrap();
        assert_eq!(grants.len(), round);
        assert!(grants.iter().all(|held| held.grant.standing(later) == access::Standing::Expired));
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn tokens_do_what_their_scopes_say_and_admins_need_no_grant(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (model, ada) = (model(&portal, "tiny-opt").await, account(&portal, "ada", Role::Researcher).await);
    let (root, grace) = (account(&portal, "root", Role::Admin).await, account(&portal, "grace", Role::Reviewer).await);
    let now = portal.portal.clock.now();
    access::give(&portal.portal, None, &ada, &model, "agreed by mail", 30).await.unwrap();
    for (visitor, download, generate) in [
        (Visitor::Anonymous, Err("signed_out"), Err("signed_out")),
        (Visitor::BadToken, Err("token_invalid"), Err("token_invalid")),
        (at_browser(&ada), Ok(()), Ok(())),
        (at_terminal(&ada, &[Scope::Download], now), Ok(()), Err("token_scope")),
        (at_terminal(&ada, &[Scope::Api], now), Err("token_scope"), Ok(())),
        (at_terminal(&ada, &[Scope::Download, Scope::Api], now), Ok(()), Ok(())),
        (at_browser(&grace), Err("no_application"), Err("no_application")),
        (at_browser(&root), Ok(()), Ok(())),
        (at_terminal(&root, &[Scope::Download], now), Ok(()), Err("token_scope")),
    ] {
        assert_eq!(verdict(&portal, &visitor, &model, Action::Download, now).await, download, "{visitor:?}");
        assert_eq!(verdict(&portal, &visitor, &model, Action::Generate, now).await, generate, "{visitor:?}");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_operator_gives_and_takes_access_on_the_record(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (model, ada) = (model(&portal, "tiny-opt").await, account(&portal, "ada", Role::Researcher).await);
    let now = portal.portal.clock.now();
    assert!(matches!(access::take_back(&portal.portal, &ada, &model, "why not").await, Err(Error::NotFound("grant"))));
    for (reason, days) in [(" ", 30), ("fine", 0), ("fine", 367)] {
        assert!(
            matches!(access::give(&portal.portal, None, &ada, &model, reason, days).await, Err(Error::Invalid(_))),
            "{reason:?} {days}"
        );
    }
    let grant = access::give(&portal.portal, None, &ada, &model, "agreed by mail", 366).await.unwrap();
    assert!(matches!(access::give(&portal.portal, None, &ada, &model, "again", 30).await, Err(Error::Conflict(_))));
    access::take_back(&portal.portal, &ada, &model, "no longer with us").await.unwrap();
    assert_eq!(verdict(&portal, &at_browser(&ada), &model, Action::Download, now).await, Err("grant_revoked"));
    assert_eq!(events(&portal, &grant.id.to_string()).await, ["grant.made", "grant.revoked"]);
    let given = portal.mails_to("ada@lab.example", "access_granted").await;
    let told = "The operator of this portal has given you access to demo/tiny-opt until 3 March 2027, without an application. You may ";
    assert!(given.len() == 1 && given[0].contains(told) && !given[0].contains("approved"), "she never applied: {given:?}");
    assert_eq!(portal.mails_to("ada@lab.example", "access_revoked").await.len(), 1);
}
