//! What holds in every application: the wait after a decline, one's own case, the checklist, words with a decline, access that does not hold.

use reqwest::Method;
use serde_json::json;
use server::audit;
use sqlx::PgPool;
use tests::{Page, TestPortal};
use time::Duration;

use crate::application_life::version_of;
use crate::apply_and_review::case_of;
use crate::gated::{applies_for, gated};

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_appeal_that_is_left_is_no_way_round_the_wait_after_a_decline(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    portal.reviewer("barbara").await;
    let (of_ada, of_bob) = (applies_for(&ada, "/demo/tiny-opt").await, applies_for(&bob, "/demo/tiny-opt").await);
    for application in [&of_ada, &of_bob] {
        let reason = [("reason", "purpose_unclear"), ("text", "Which question do you ask?")];
        assert_eq!(grace.post(&format!("{}/decline", case_of(application)), &reason).await.status, 303);
    }
    portal.wait(Duration::days(3));
    for (person, application) in [(&ada, &of_ada), (&bob, &of_bob)] {
        assert_eq!(person.post(&format!("{application}/appeal"), &[("text", "See page 3.")]).await.status, 303);
    }
    ada.get(&of_ada).await.says("The decline stands then").says("You appealed");
    assert_eq!(ada.post(&format!("{of_ada}/withdraw"), &[]).await.status, 303);
    // Two weeks from the decline, not from the withdrawal, and not from now.
    let page = ada.get("/demo/tiny-opt/apply").await;
    page.says("You may apply again from 16 March 2026");
    assert!(!page.text.contains("appeal"), "there was one");
    ada.get(&of_ada).await.says("You may apply again from 16 March 2026");
    assert_eq!(ada.post("/demo/tiny-opt/apply/draft", &[("title", "anew")]).await.status, 409);
    let page = ada.post("/demo/tiny-opt/apply", &[("title", "anew")]).await;
    assert_eq!(page.status, 409);
    page.says("you may apply again from 16 March 2026");

    // The same where it lapses: that takes longer than this model makes anybody wait, so it is arranged.
    sqlx::query("update application set state = 'lapsed', closed_at = submitted_at + interval '4 days' where id = $1")
        .bind(of_bob.replace("/applications/", "").parse::<server::ids::ApplicationId>().unwrap().uuid())
        .execute(&portal.portal.db)
        .await
        .unwrap();
    bob.get("/demo/tiny-opt/apply").await.says("You may apply again from 16 March 2026");

    portal.wait(Duration::days(11));
    ada.signs_in().await;
    ada.get("/demo/tiny-opt/apply").await.says("copied from");
    assert_eq!(ada.post("/demo/tiny-opt/apply/draft", &[("title", "anew")]).await.status, 303);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_reviewer_who_applies_is_an_applicant_to_their_own_case(db: PgPool) {
    const CANARY: &str = "Xochipilli";
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let application = applies_for(&grace, "/demo/tiny-opt").await;
    let (case, at) = (case_of(&application), application.replace("/applications/", "/api/v1/review/"));
    let remark = [("lane", "internal"), ("text", CANARY)];
    assert_eq!(barbara.post(&format!("{case}/comment"), &remark).await.status, 303);
    assert_eq!(barbara.post(&format!("{case}/claim"), &[]).await.status, 303);
    assert_eq!(barbara.post(&format!("{case}/check"), &[("identity", "on")]).await.status, 303);

    let page = grace.fetch(&case).await;
    assert_eq!((page.status, page.location()), (303, application.as_str()));
    let mut answers = vec![page];
    for path in [case.as_str(), &application, "/review", "/review?view=all", "/review?q=negation", "/applications"] {
        answers.push(grace.get(path).await);
    }
    grace.get("/review").await.says("Your own").says("A reviewer");
    let commands: [(&str, &[(&str, &str)]); 13] = [
        ("claim", &[]),
        ("release", &[]),
        ("check", &[("purpose", "on")]),
        ("seen", &[]),
        ("undo", &[]),
        ("comment", &[("lane", "internal"), ("text", "Mine.")]),
        ("comment", &[("lane", "nowhere"), ("text", "Mine.")]),
        ("changes", &[("text", "")]),
        ("approve", &[("until", "2026-06-01")]),
        ("approve", &[("until", "never")]),
        ("approve", &[("until", "2026-06-01"), ("preview", "yes")]),
        ("decline", &[("reason", "duplicate"), ("text", "No."), ("preview", "yes")]),
        ("decline", &[("reason", ""), ("text", "")]),
    ];
    for (command, fields) in commands {
        let page = grace.post(&format!("{case}/{command}"), fields).await;
        assert_eq!(page.status, 403, "{command} {fields:?}: {}", page.text);
        answers.push(page);
    }
    let desk = grace.with_token(&grace.makes_token(&["review", "apply"]).await);
    for path in [at.clone(), "/api/v1/review".into(), "/api/v1/review?q=negation".into(), application.replace("/app", "/api/v1/app")] {
        answers.push(desk.fetch(&path).await);
    }
    assert_eq!(desk.fetch(&at).await.json()["code"], "own_application");
    let commands = [
        (Method::POST, "claim", json!({})),
        (Method::POST, "release", json!({})),
        (Method::PUT, "check", json!({ "points": ["purpose"] })),
        (Method::POST, "undo", json!({})),
        (Method::POST, "comment", json!({ "lane": "shared", "text": "Mine." })),
        (Method::POST, "changes", json!({ "text": "?" })),
        (Method::POST, "approve", json!({ "until": "2026-06-01" })),
        (Method::POST, "approve/preview", json!({ "until": "2026-06-01" })),
        (Method::POST, "decline", json!({ "reason": "duplicate", "text": "No." })),
        (Method::POST, "decline/preview", json!({ "reason": "duplicate", "text": "No." })),
    ];
    for (method, command, body) in commands {
        let page = Page::of(desk.request(method, &format!("{at}/{command}")).json(&body).send().await.unwrap()).await;
        assert_eq!((page.status, page.json()["code"].as_str()), (403, Some("own_application")), "{command}: {}", page.text);
        answers.push(page);
    }
    // What is on record of the ticks is not the applicant's to ask for; what is on record of the claim is.
    let seq = async |kind: &str| -> i64 {
        sqlx::query_scalar("select seq from audit_event where kind = $1").bind(kind).fetch_one(&portal.portal.db).await.unwrap()
    };
    assert_eq!(desk.fetch(&format!("/api/v1/receipts/{}", seq("application.checked").await)).await.status, 404);
    assert_eq!(desk.fetch(&format!("/api/v1/receipts/{}", seq("application.note_written").await)).await.status, 404);
    answers.push(grace.fetch("/account/data.json").await);
    for page in answers {
        assert!(!page.text.contains(CANARY) && !page.text.contains("barbara"), "{}", page.text);
    }
    assert!(portal.mails_to(&grace.email, "comment_written").await.is_empty());
    barbara.get(&case).await.says(CANARY);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_checklist_is_ticked_by_who_may_decide_and_on_the_record(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, barbara) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);
    let seen = version_of(&grace.get(&case).await);
    let ticks = [("identity", "on"), ("purpose", "on"), ("version", seen.as_str())];
    assert_eq!(grace.post(&format!("{case}/check"), &ticks).await.status, 303);
    let page = barbara.post(&format!("{case}/check"), &[("version", &seen)]).await;
    assert_eq!(page.status, 409, "an old window does not untick what another has ticked");
    page.says("changed while you were looking at it");
    // The same once more is nothing new.
    assert_eq!(grace.post(&format!("{case}/check"), &ticks[..2]).await.status, 303);
    let of_case = audit::Filter { subjects: Some(vec![application.replace("/applications/", "")]), ..Default::default() };
    let mut events = audit::page(&mut portal.portal.db.acquire().await.unwrap(), &of_case, 100).await.unwrap();
    events.retain(|event| event.kind == "application.checked");
    let [ticked] = &events[..] else { panic!("once: {events:?}") };
    assert_eq!(ticked.detail.as_ref().unwrap()["points"], json!(["identity", "purpose"]));
    let grace_id: server::ids::AccountId =
        sqlx::query_scalar("select id from account where name = 'grace'").fetch_one(&portal.portal.db).await.unwrap();
    assert_eq!(ticked.actor, Some(grace_id));
    assert!(!ada.get(&application).await.text.contains("checked"), "what reviewers tick is theirs");

    assert_eq!(barbara.post(&format!("{case}/claim"), &[]).await.status, 303);
    assert_eq!(grace.post(&format!("{case}/check"), &[]).await.status, 409, "barbara sees to it");
    let seen = version_of(&barbara.get(&case).await);
    assert_eq!(barbara.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await.status, 303);
    assert_eq!(barbara.post(&format!("{case}/check"), &[("licence", "on")]).await.status, 409, "it is decided");
    let page = barbara.post(&format!("{case}/undo"), &[("version", &seen)]).await;
    assert_eq!(page.status, 409, "nor does an old window take back what it has not seen");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whoever_holds_what_does_not_hold_is_told_so_where_they_would_apply(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let case = case_of(&applies_for(&ada, "/demo/tiny-opt").await);
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await.status, 303);
    ada.get("/demo/tiny-opt/apply").await.says("You have access to demo/tiny-opt").says("1 June 2026");
    let grant: server::ids::GrantId = sqlx::query_scalar("select id from access_grant").fetch_one(&portal.portal.db).await.unwrap();
    let reason = [("reason", "A question to be settled")];
    assert_eq!(grace.post(&format!("/admin/grants/{grant}/suspend"), &reason).await.status, 303);
    let page = ada.get("/demo/tiny-opt/apply").await;
    page.says("does not hold now").says("is suspended: A question to be settled.").says(&format!("/grants/{grant}"));
    assert!(!page.text.contains("You have access"), "{}", page.text);
    let page = ada.post("/demo/tiny-opt/apply/draft", &[("title", "anew")]).await;
    assert_eq!(page.status, 403);
    page.says("is suspended");
    assert_eq!(grace.post(&format!("/admin/grants/{grant}/reinstate"), &[]).await.status, 303);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_decline_needs_words_and_brings_some_to_begin_with(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);
    for more in [&[][..], &[("preview", "yes")]] {
        let page = grace.post(&format!("{case}/decline"), &[&[("reason", "purpose_unclear"), ("text", " ")], more].concat()).await;
        assert_eq!(page.status, 422);
        page.says("say what stood in the way").says("\nFrom your answers we could not see which question");
    }
    let id = application.replace("/applications/", "");
    let many = [("id", id.as_str()), ("action", "decline"), ("reason", "jurisdiction"), ("text", "")];
    let page = grace.post("/review/bulk/do", &many).await;
    assert_eq!(page.status, 422);
    page.says("say what stood in the way").says("\nWe may not give access where you or your institution are");
    let desk = grace.with_token(&grace.makes_token(&["review"]).await);
    let silent = json!({ "reason": "duplicate", "text": "" });
    let page = Page::of(desk.request(Method::POST, &format!("/api/v1/review/{id}/decline")).json(&silent).send().await.unwrap()).await;
    assert_eq!((page.status, &page.json()["errors"][0]["field"]), (422, &json!("text")), "{}", page.text);
    let silent = json!({ "action": "decline", "reason": "duplicate", "cases": [{ "id": id }] });
    let page = Page::of(desk.request(Method::POST, "/api/v1/review/bulk").json(&silent).send().await.unwrap()).await;
    assert_eq!(page.status, 422, "{}", page.text);
    ada.get(&application).await.says("In review");
}
