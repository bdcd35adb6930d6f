//! `/api/v1` for one's own account: what it does, and what it refuses.

use serde_json::{Value, json};
use server::ids::SessionId;
use sqlx::PgPool;
use tests::TestPortal;

use crate::api::{fine, program, refused, sends};
use crate::api_document::Document;

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_account_is_seen_to_by_program(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    let (mine, other) = (program(&ada, &["apply"]).await, program(&bob, &["apply"]).await);

    let named = fine(sends(&mine, "PUT", "/api/v1/me/name", json!({ "name": "Ada  King" })).await);
    assert_eq!(named["name"], "Ada King");
    refused(&sends(&mine, "PUT", "/api/v1/me/name", json!({ "name": " " })).await, 422, "invalid");
    refused(&sends(&mine, "PUT", "/api/v1/me/name", json!({ "name": "Ada", "role": "admin" })).await, 422, "invalid");
    assert_eq!(fine(mine.fetch("/api/v1/me").await)["account"]["name"], "Ada King");

    // Mails: what is theirs to choose, all of it or nothing.
    assert_eq!(fine(mine.fetch("/api/v1/me/mails").await), json!({ "reviews": null, "comments": "each", "tokens": "each" }));
    let not_hers = sends(&mine, "PUT", "/api/v1/me/mails", json!({ "reviews": "never", "comments": "never" })).await;
    refused(&not_hers, 422, "invalid");
    assert_eq!(not_hers.json()["errors"][0]["field"], "reviews");
    assert_eq!(fine(mine.fetch("/api/v1/me/mails").await)["comments"], "each", "nothing of it was noted");
    assert_eq!(fine(sends(&mine, "PUT", "/api/v1/me/mails", json!({ "comments": "never" })).await)["comments"], "never");
    let desk = program(&grace, &["apply", "review"]).await;
    refused(&sends(&desk, "PUT", "/api/v1/me/mails", json!({ "comments": "daily" })).await, 422, "invalid");
    assert_eq!(fine(sends(&desk, "PUT", "/api/v1/me/mails", json!({ "reviews": "daily" })).await)["reviews"], "daily");

    // Sessions: one's own.
    let sessions = fine(mine.fetch("/api/v1/sessions").await);
    let session = sessions["items"][0]["id"].as_str().unwrap().to_owned();
    refused(&sends(&other, "DELETE", &format!("/api/v1/sessions/{session}"), json!({})).await, 404, "not_found");
    refused(&sends(&mine, "DELETE", &format!("/api/v1/sessions/{}", SessionId::fresh()), json!({})).await, 404, "not_found");
    assert_eq!(ada.get("/account").await.status, 200, "she is still signed in");
    assert_eq!(sends(&mine, "DELETE", &format!("/api/v1/sessions/{session}"), json!({})).await.status, 204);
    assert_eq!(ada.get("/account").await.status, 303, "and now she is not");
    ada.signs_in().await;
    assert_eq!(sends(&mine, "DELETE", "/api/v1/sessions", json!({})).await.status, 204);
    assert_eq!(fine(mine.fetch("/api/v1/sessions").await)["items"], json!([]));
    assert_eq!(bob.get("/account").await.status, 200, "his go on");

    let data = fine(mine.fetch("/api/v1/me/data").await);
    assert_eq!(data["account"]["email"], ada.email.as_str(), "{data}");
    assert!(!data.to_string().contains(&bob.email));
    let numbers = fine(mine.fetch("/api/v1/downloads/summary").await);
    assert_eq!((&numbers["totals"]["files"], &numbers["today"]["running"]), (&json!(0), &json!(0)), "{numbers}");
    refused(&mine.fetch("/api/v1/downloads?state=half").await, 422, "invalid");
    refused(&mine.fetch("/api/v1/downloads?from=soon").await, 422, "invalid");
    refused(&mine.fetch("/api/v1/downloads?who=bob").await, 422, "invalid");

    // Receipts: of what concerns one.
    portal.portal.audit.integrate(&portal.portal.db).await.unwrap();
    let events = data["record"].as_array().unwrap();
    let seq = events.iter().find(|event| event["kind"] == "token.made").unwrap()["seq"].as_i64().unwrap();
    let receipt = fine(mine.fetch(&format!("/api/v1/receipts/{seq}")).await);
    assert!(receipt["proof"].as_str().unwrap().starts_with("c2sp.org/tlog-proof@v1"), "{receipt}");
    refused(&other.fetch(&format!("/api/v1/receipts/{seq}")).await, 404, "not_found");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_token_makes_none_that_may_more_or_lives_longer_and_ends_what_it_made(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    let mine = program(&ada, &["apply", "download"]).await;
    let wants = |program, sent: Value| async move { sends(program, "POST", "/api/v1/tokens", sent).await };
    for (field, sent) in [
        ("scopes", json!({ "name": "x", "scopes": ["api"] })),
        ("scopes", json!({ "name": "x", "scopes": ["download", "admin"] })),
        ("scopes", json!({ "name": "x", "scopes": ["everything"] })),
        ("scopes", json!({ "name": "x", "scopes": [] })),
        ("days", json!({ "name": "x", "scopes": ["download"], "days": 31 })),
        ("days", json!({ "name": "x", "scopes": ["download"], "days": 0 })),
        ("days", json!({ "name": "x", "scopes": ["download"], "days": i64::MAX })),
        ("name", json!({ "name": " ", "scopes": ["download"] })),
        ("body", json!({ "name": "x" })),
    ] {
        let page = wants(&mine, sent.clone()).await;
        refused(&page, 422, "invalid");
        assert_eq!(page.json()["errors"][0]["field"], field, "{sent}: {}", page.text);
    }
    let narrow = program(&ada, &["download"]).await;
    refused(&wants(&narrow, json!({ "name": "x", "scopes": ["download"] })).await, 403, "token_scope");

    let made = fine(wants(&mine, json!({ "name": "night", "scopes": ["download", "apply", "download"] })).await);
    let own = fine(mine.fetch("/api/v1/me").await)["token"].clone();
    assert_eq!((&made["token"]["made_with"], &made["token"]["expires_at"]), (&own["id"], &own["expires_at"]), "{made}");
    assert_eq!(made["token"]["scopes"], json!(["download", "apply"]));
    let child = ada.with_token(made["secret"].as_str().unwrap());
    assert_eq!(fine(child.fetch("/api/v1/me").await)["token"]["name"], "night");
    let grandchild = wants(&child, json!({ "name": "x", "scopes": ["download"] })).await;
    refused(&grandchild, 403, "token_made_by_token");
    assert_eq!(grandchild.json()["mend"]["path"], "/account/tokens");
    ada.get("/account/tokens").await.says("made with another token");

    // Made while it is revoked, or not at all: whoever wins, nothing is left.
    let path = format!("/api/v1/tokens/{}", own["id"].as_str().unwrap());
    let (revoked, late) =
        tokio::join!(sends(&mine, "DELETE", &path, json!({})), wants(&mine, json!({ "name": "late", "scopes": ["download"] })));
    assert_eq!(revoked.status, 204);
    assert!(matches!(late.status, 200 | 401), "{}", late.text);
    assert_eq!(child.fetch("/api/v1/me").await.status, 401, "what it made ended with it");
    let live: i64 = sqlx::query_scalar("select count(*) from token where revoked_at is null and made_with is not null")
        .fetch_one(&portal.portal.db)
        .await
        .unwrap();
    assert_eq!(live, 0);
    let told: i64 =
        sqlx::query_scalar("select count(*) from audit_event where kind = 'token.revoked'").fetch_one(&portal.portal.db).await.unwrap();
    assert!(told >= 2, "each is on the record");
}

/// Every operation of an account that does not end the token it is asked with.
pub async fn tries_an_account(document: &mut Document, portal: &TestPortal, mine: &tests::Person) {
    document.tries(mine, "PUT", "/api/v1/me/name", "", Some(json!({ "name": "Ada King" }))).await;
    document.tries(mine, "GET", "/api/v1/me/mails", "", None).await;
    document.tries(mine, "PUT", "/api/v1/me/mails", "", Some(json!({ "comments": "never" }))).await;
    document.tries(mine, "GET", "/api/v1/me/data", "", None).await;
    document.tries(mine, "GET", "/api/v1/downloads/summary", "", None).await;
    document.tries(mine, "POST", "/api/v1/tokens", "", Some(json!({ "name": "night", "scopes": ["apply"], "days": 1 }))).await;
    let browser = tests::Person::new(&portal.base, &mine.email);
    browser.signs_in().await;
    let sessions = document.tries(mine, "GET", "/api/v1/sessions", "", None).await;
    document.tries(mine, "DELETE", "/api/v1/sessions/{id}", sessions["items"][0]["id"].as_str().unwrap(), None).await;
    document.tries(mine, "DELETE", "/api/v1/sessions", "", None).await;
}
