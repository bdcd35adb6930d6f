//! Who asks again meets what stood before: a decline counts until its time is over, a stop until it is lifted, whatever was begun, discarded,
//! appealed, undone or erased meanwhile. And who asks a hundred times is asked to wait.

use futures_util::future::join_all;
use server::access;
use server::accounts;
use server::privacy::{Asker, erase};
use sqlx::PgPool;
use tests::{Person, TestPortal};
use time::Duration;

use crate::gated::relicense;
use crate::grants::{account_of, events_of, grant_of};
use crate::ways_around::{applies, approves, declines, desk};

async fn erases_themselves(person: &Person) {
    let fields = [("understood", "on"), ("password", Person::PASSWORD)];
    assert_eq!(person.post("/account/erase", &fields).await.status, 303);
}

fn own(case: &str) -> String {
    case.replace("/review/", "/applications/")
}

async fn sets_rules(root: &Person, rules: &str, trial_tokens: &str, reapply_days: &str) {
    let fields = [("answer_days", "7"), ("reapply_days", reapply_days), ("trial_tokens", trial_tokens)];
    assert_eq!(root.post(rules, &fields).await.status, 303);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_appeal_and_an_erasure_do_not_shorten_the_time_to_wait(db: PgPool) {
    let (portal, rules, grace, _, root) = desk(db).await;
    sets_rules(&root, &rules, "0", "14").await;
    let (ada, bob) = (portal.researcher("ada").await, portal.researcher("bob").await);
    for person in [&ada, &bob] {
        let case = applies(person).await;
        assert_eq!(declines(&grace, &case).await.status, 303);
        assert_eq!(person.post(&format!("{}/appeal", own(&case)), &[("text", "See page 3.")]).await.status, 303);
        if person.email == bob.email {
            assert_eq!(person.post(&format!("{}/withdraw", own(&case)), &[]).await.status, 303);
        }
        erases_themselves(person).await;
    }
    for name in ["ada", "bob"] {
        let page = portal.researcher(name).await.get("/lab/tiny/apply").await;
        assert_eq!(page.status, 403, "{name}");
        page.says("until 16 March 2026");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_draft_that_was_discarded_does_not_hide_a_later_decline(db: PgPool) {
    let (portal, rules, grace, _, root) = desk(db).await;
    sets_rules(&root, &rules, "0", "14").await;
    let ada = portal.researcher("ada").await;
    let case = applies(&ada).await;
    assert_eq!(declines(&grace, &case).await.status, 303);
    portal.wait(Duration::days(15));
    ada.signs_in().await;
    assert_eq!(ada.post("/lab/tiny/apply/draft", &[("title", "anew")]).await.status, 303);
    let list = ada.get("/applications").await;
    let draft = list.text.split("/applications/app_").skip(1).map(|rest| &rest[..26]).find(|id| !case.ends_with(id)).unwrap().to_owned();
    assert_eq!(ada.post(&format!("/applications/app_{draft}/withdraw"), &[]).await.status, 303);
    assert_eq!(ada.post(&format!("{}/appeal", own(&case)), &[("text", "See page 3.")]).await.status, 303);
    let waiting = ada.get("/lab/tiny/apply").await;
    assert!(waiting.location().ends_with(&own(&case)) || waiting.text.contains("waiting for a reviewer"), "{}", waiting.text);
    portal.wait(Duration::HOUR);
    assert_eq!(declines(&portal.reviewer("hedy").await, &case).await.status, 303);
    ada.get("/lab/tiny/apply").await.says("You may apply again from 31 March 2026");
    assert_eq!(ada.post("/lab/tiny/apply/draft", &[("title", "anew")]).await.status, 409);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_trial_gives_nobody_what_was_taken_from_them(db: PgPool) {
    let (portal, rules, grace, barbara, root) = desk(db).await;
    let ada = portal.researcher("ada").await;
    assert_eq!(approves(&grace, &applies(&ada).await).await.status, 303);
    let grant = format!("/admin/grants/{}", grant_of(&portal, &ada).await);
    assert_eq!(grace.post(&format!("{grant}/revoke"), &[("reason", "passed on")]).await.status, 303);
    assert_eq!(barbara.post(&format!("{grant}/confirm"), &[]).await.status, 303);
    sets_rules(&root, &rules, "500", "0").await;
    let tries = async |person: &Person| {
        person.post("/playground/complete", &[("model", "lab/tiny"), ("text", "a"), ("max_tokens", "1")]).await.status
    };
    applies(&ada).await;
    assert_eq!(tries(&ada).await, 403, "revoked, and nobody has said otherwise");

    // An approval that was taken back is no revocation: who waits may try.
    let bob = portal.researcher("bob").await;
    let case = applies(&bob).await;
    assert_ne!(tries(&bob).await, 403);
    assert_eq!(approves(&grace, &case).await.status, 303);
    assert_eq!(grace.post(&format!("{case}/undo"), &[]).await.status, 303);
    assert_ne!(tries(&bob).await, 403);
    erases_themselves(&bob).await;
    assert_eq!(portal.researcher("bob").await.get("/lab/tiny/apply").await.status, 200, "nothing was stopped");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn nothing_waits_beside_access_that_runs(db: PgPool) {
    let (portal, _, grace, _, _) = desk(db).await;
    let ada = portal.researcher("ada").await;
    let case = applies(&ada).await;
    let gives = async || {
        let mut db = portal.portal.db.acquire().await.unwrap();
        let account = accounts::find_account(&mut db, account_of(&portal, &ada).await).await.unwrap();
        let model = server::catalog::find_any_model(&mut db, "lab", "tiny").await.unwrap().unwrap();
        drop(db);
        access::give(&portal.portal, None, &account, &model, "agreed by mail", 30).await
    };
    let refused = gives().await.expect_err("an application waits");
    assert!(refused.to_string().contains("decide on it at /review/"), "{refused}");
    assert_eq!(declines(&grace, &case).await.status, 303);
    gives().await.expect("nothing waits");
    let refused = grace.post(&format!("{case}/undo"), &[]).await;
    assert_eq!(refused.status, 409);
    refused.says("has been given access another way since");
    let refused = ada.post(&format!("{}/appeal", own(&case)), &[("text", "See page 3.")]).await;
    assert_eq!(refused.status, 409);
    refused.says("ou have been given access since");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_asks_again_and_again_is_asked_to_wait(db: PgPool) {
    let (portal, _, grace, barbara, _) = desk(db).await;
    let ada = portal.researcher("ada").await;
    assert_eq!(approves(&grace, &applies(&ada).await).await.status, 303);
    let never = [("reviews", "never"), ("comments", "each"), ("tokens", "each"), ("releases", "each")];
    assert_eq!(grace.post("/account/mail", &never).await.status, 303);
    let grant = grant_of(&portal, &ada).await;
    portal.wait(Duration::days(80));
    ada.signs_in().await;
    let fields =
        [("summary", "We measured how negation fares with size, and found that size helps little."), ("publications", ""), ("months", "3")];
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(ada.post(&format!("/grants/{grant}/renew"), &fields).await.status);
        ada.post(&format!("/grants/{grant}/renew/withdraw"), &[]).await;
    }
    assert_eq!(statuses, [303, 303, 303, 303, 303, 303, 429, 429]);
    let told = async |person: &Person| portal.mails_to(&person.email, "renewal_to_review").await.len();
    assert_eq!((told(&barbara).await, told(&grace).await), (6, 0), "each is a mail, and none to whom wants none");

    let bob = portal.researcher("bob").await;
    let mut statuses = Vec::new();
    for _ in 0..22 {
        statuses.push(bob.post("/lab/tiny/apply/draft", &[("title", "anew")]).await.status);
        let list = bob.get("/applications").await;
        let draft = list.text.split("/applications/app_").nth(1).map(|rest| rest[..26].to_owned()).unwrap();
        bob.post(&format!("/applications/app_{draft}/withdraw"), &[]).await;
    }
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 20);
    assert_eq!(statuses.last(), Some(&429));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_erasure_and_a_decision_at_once_wait_for_each_other(db: PgPool) {
    let (portal, _, grace, barbara, _) = desk(db).await;
    for round in 0..8 {
        let ada = portal.researcher(&format!("ada{round}")).await;
        let (case, account) = (applies(&ada).await, account_of(&portal, &ada).await);
        let note = |text: &'static str| {
            let (barbara, path) = (barbara.clone(), format!("{case}/comment"));
            async move { barbara.post(&path, &[("lane", "internal"), ("text", text)]).await }
        };
        let (erased, approved, notes) = tokio::join!(
            erase(&portal.portal, account, Asker::Themselves),
            approves(&grace, &case),
            join_all((0..3).map(|_| note("Looks thin."))),
        );
        erased.unwrap_or_else(|refused| panic!("{round}: {refused:?}"));
        for page in notes.iter().chain([&approved]) {
            assert!(matches!(page.status, 303 | 409), "{round}: {}", page.text);
        }
        let grants = access::grants_of(&mut portal.portal.db.acquire().await.unwrap(), account).await.unwrap();
        let now = portal.portal.clock.now();
        assert!(grants.iter().all(|held| !held.grant.standing(now).is_running()), "{round}");
        let late = note("This was Ada.").await;
        assert_eq!(late.status, 409);
        late.says("was erased");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_clock_that_was_set_back_hides_neither_an_appeal_nor_a_change_of_terms(db: PgPool) {
    let (portal, rules, grace, _, root) = desk(db).await;
    let (ada, bob) = (portal.researcher("ada").await, portal.researcher("bob").await);
    let case = applies(&ada).await;
    assert_eq!(declines(&grace, &case).await.status, 303);
    assert_eq!(approves(&grace, &applies(&bob).await).await.status, 303);
    portal.wait(-Duration::HOUR);
    assert_eq!(ada.post(&format!("{}/appeal", own(&case)), &[("text", "See page 3.")]).await.status, 303);

    portal.wait(Duration::hours(3));
    let model = rules.trim_end_matches("/policy");
    let id = Some(model.trim_start_matches("/admin/models/").parse().unwrap());
    for (text, hours) in [("Once changed.", -1), ("Twice changed.", 0)] {
        relicense(&portal, id, text, portal.portal.clock.now()).await;
        assert_eq!(root.post(&format!("{model}/licence-change"), &[("grace_days", "0")]).await.status, 303);
        portal.wait(Duration::hours(hours));
    }
    assert_eq!(portal.mails_to(&bob.email, "licence_changed").await.len(), 2, "each asks");
    let consent = format!("/grants/{}/consent", grant_of(&portal, &bob).await);
    let page = bob.get(&consent).await;
    page.says("Twice changed.");
    assert!(!page.text.contains("Once changed."));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_way_in_that_the_operator_makes_is_on_record_and_so_is_what_it_proves(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let visitor = portal.visitor();
    visitor.post("/sign-up", &[("name", "Ada"), ("email", "ada@university.edu")]).await;
    let ada = Person::new(&portal.base, "ada@university.edu");
    let account = account_of(&portal, &ada).await;
    let link = accounts::sign_in_link(&portal.portal, account).await.unwrap();
    let key = link.split_once("key=").map_or(link.as_str(), |(_, key)| key);
    assert_eq!(ada.post("/sign-in/link", &[("key", key)]).await.status, 303, "{link}");
    let story = ["made", "sign_in_link_made", "email_verified", "signed_in"].map(|kind| format!("account.{kind}"));
    assert_eq!(events_of(&portal, &account.to_string()).await, story);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn to_whom_it_concerns_a_reviewer_is_a_reviewer(db: PgPool) {
    let (portal, _, grace, barbara, root) = desk(db).await;
    assert_eq!(approves(&grace, &applies(&barbara).await).await.status, 303);
    let (grant, person) = (grant_of(&portal, &barbara).await, account_of(&portal, &barbara).await);
    let page = format!("/admin/grants/{grant}");
    assert_eq!(grace.post(&format!("{page}/suspend"), &[("reason", "an odd address")]).await.status, 303);
    let block = [("until", "2026-05-01"), ("reason", "threats")];
    assert_eq!(grace.post(&format!("/admin/people/{person}/block"), &block).await.status, 303);
    let program = barbara.with_token(&barbara.makes_token(&["review"]).await);
    let seen = [
        barbara.get(&page).await.text,
        barbara.get(&format!("/admin/people/{person}")).await.text,
        program.fetch(&format!("/api/v1/review/grants/{grant}")).await.text,
        program.fetch(&format!("/api/v1/admin/people/{person}/blocks")).await.text,
    ];
    for text in seen {
        assert!(text.contains("reviewer") && !text.contains("grace"), "{text}");
    }
    root.get(&page).await.says("grace suspended it");
}
