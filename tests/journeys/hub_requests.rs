//! Deciding with programs: the Hub's interface for access requests, by the rules of the desk.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};

use crate::gated::{applies_for, gated};

const REQUESTS: &str = "/api/models/demo/opt/user-access-request";

/// This reviewer's program.
async fn program_of(reviewer: &Person) -> Person {
    reviewer.with_token(&reviewer.makes_token(&["review"]).await)
}

async fn sends(program: &Person, what: &str, body: Value) -> Page {
    Page::of(program.request(Method::POST, &format!("{REQUESTS}/{what}")).json(&body).send().await.unwrap()).await
}

async fn lists(program: &Person, status: &str) -> Value {
    let page = program.fetch(&format!("{REQUESTS}/{status}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.json()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_program_lists_requests_and_decides_as_the_desk_does(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    let program = program_of(&grace).await;
    assert_eq!(lists(&program, "pending").await, json!([]));
    let of_ada = applies_for(&ada, "/demo/opt").await;
    let of_bob = applies_for(&bob, "/demo/opt").await;
    let pending = lists(&program, "pending").await;
    assert_eq!(pending[0]["user"]["user"], "ada@university.edu");
    assert_eq!(pending[0]["requestId"], of_ada.rsplit('/').next().unwrap());
    assert_eq!(pending[0]["timestamp"], "2026-03-02T09:00:00.000Z");
    assert!(pending[0]["fields"]["Organisation"].is_string(), "{pending}");
    assert_eq!(pending[0]["fields"]["Your role"], "Academic staff", "in the words of the form");
    assert_eq!(pending[0]["fields"]["What you will use the model for"], "Evaluation", "boxes, too: {pending}");
    assert_eq!(pending.as_array().unwrap().len(), 2);

    // One page at a time, if asked.
    let first = program.fetch(&format!("{REQUESTS}/pending?limit=1")).await;
    let next = first.header("link").strip_prefix('<').unwrap().split('>').next().unwrap().strip_prefix(&portal.base).unwrap().to_owned();
    assert_eq!(program.fetch(&next).await.json()[0]["user"]["user"], "bob@university.edu");

    let accepted = sends(&program, "handle", json!({ "user": "ada@university.edu", "status": "accepted" })).await;
    assert_eq!((accepted.status, accepted.json()), (200, json!({})));
    ada.get(&of_ada).await.says("Your application was approved");
    assert_eq!(portal.mails_to("ada@university.edu", "access_granted").await.len(), 1, "with the mail of any approval");
    assert_eq!(lists(&program, "accepted").await[0]["requestId"], of_ada.rsplit('/').next().unwrap());
    let again = sends(&program, "handle", json!({ "user": "ada@university.edu", "status": "accepted" })).await;
    assert_eq!(again.status, 409, "{}", again.text);
    again.says("has approved this application");

    // A refusal needs words, as at the desk.
    let id = of_bob.rsplit('/').next().unwrap();
    let wordless = sends(&program, "handle", json!({ "requestId": id, "status": "rejected" })).await;
    assert_eq!(wordless.status, 422, "{}", wordless.text);
    wordless.says("rejection_reason");
    let reason = "Say where the weights will lie.";
    assert_eq!(sends(&program, "handle", json!({ "requestId": id, "status": "rejected", "rejectionReason": reason })).await.status, 200);
    bob.get(&of_bob).await.says(reason);
    assert_eq!(lists(&program, "rejected").await[0]["user"]["fullname"], "bob");
    assert_eq!(lists(&program, "pending").await, json!([]));

    // Access without an application, on the record with the reviewer's name.
    assert_eq!(sends(&program, "grant", json!({ "user": "bob@university.edu" })).await.status, 200);
    let given = portal.mails_to("bob@university.edu", "access_granted").await;
    assert!(given[0].contains("A reviewer has given you access to demo/opt until ") && !given[0].contains("grace"), "{given:?}");
    assert_eq!(lists(&program, "accepted").await.as_array().unwrap().len(), 2);
    assert_eq!(sends(&program, "grant", json!({ "user": "bob@university.edu" })).await.status, 409);
    assert_eq!(sends(&program, "grant", json!({ "user": "nobody@university.edu" })).await.status, 404);
    assert_eq!(sends(&program, "grant", json!({ "user": "grace@lab.example" })).await.status, 403, "not to oneself");
    portal.admin("root").await.get("/admin/audit?kind=grant&by=grace%40lab.example").await.says("grant.made");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn nobody_else_decides_and_what_makes_no_sense_is_told(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    gated(&portal, "other").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let elsewhere = applies_for(&ada, "/demo/other").await;
    let id = elsewhere.rsplit('/').next().unwrap();
    let program = program_of(&grace).await;
    // A scope alone makes no reviewer, a reviewer's other tokens do not decide, and a browser sends no such thing.
    let researcher = program_of(&ada).await;
    assert_eq!(sends(&researcher, "grant", json!({ "user": "ada@university.edu" })).await.status, 403);
    let downloads = grace.with_token(&grace.makes_token(&["download"]).await);
    sends(&downloads, "handle", json!({ "requestId": id, "status": "accepted" })).await.says("scope review");
    // Nor does a token that runs the portal; the library shows what stands under `error`.
    let root = portal.admin("root").await;
    let runs = root.with_token(&root.makes_token(&["admin"]).await);
    for refused in [runs.fetch(&format!("{REQUESTS}/pending")).await, sends(&runs, "grant", json!({ "user": "ada@university.edu" })).await]
    {
        assert_eq!(refused.status, 403);
        let way = format!("make one with the scope review. Make such a token: {}/account/tokens", portal.base);
        assert!(refused.json()["error"].as_str().unwrap().ends_with(&way), "{}", refused.text);
    }
    assert_eq!(sends(&grace, "handle", json!({ "requestId": id, "status": "accepted" })).await.status, 401);
    assert_eq!(ada.get("/account/tokens").await.text.matches("name=\"review\"").count(), 0, "offered to reviewers alone");

    for (body, status) in [
        (json!({ "requestId": id, "status": "accepted" }), 404),
        (json!({ "requestId": "none", "status": "accepted" }), 404),
        (json!({ "user": "ada@university.edu", "status": "accepted" }), 404),
        (json!({ "status": "accepted" }), 422),
        (json!({ "user": "ada@university.edu", "status": "maybe" }), 422),
        (json!([]), 422),
    ] {
        assert_eq!(sends(&program, "handle", body.clone()).await.status, status, "{body}");
    }
    let back = json!({ "requestId": id, "status": "pending" }).to_string().replace("opt", "other");
    let path = "/api/models/demo/other/user-access-request/handle";
    let told = Page::of(program.request(Method::POST, path).body(back).send().await.unwrap()).await;
    assert_eq!(told.status, 409);
    assert_eq!(program.fetch("/api/models/demo/opt/user-access-request/maybe").await.status, 404);
    assert_eq!(program.fetch("/api/models/demo/none/user-access-request/pending").await.status, 404);
    assert_eq!(program.fetch(&format!("{REQUESTS}/pending?cursor=x")).await.status, 422);
    ada.get(&elsewhere).await.says("A reviewer");
}
