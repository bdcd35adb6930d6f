//! `/api/v1` for one's own account, and for running the portal: what it does, and what it refuses.

use serde_json::{Value, json};
use server::ids::{AccountId, MailId, ModelId, ReleaseId, SessionId};
use sqlx::PgPool;
use tests::{Person, TestPortal, Weights};

use crate::api::{fine, program, refused, sends};
use crate::api_document::Document;
use crate::gated::gated;

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
    assert_eq!(
        fine(mine.fetch("/api/v1/me/mails").await),
        json!({ "reviews": null, "comments": "each", "tokens": "each", "releases": "each" })
    );
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

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_token_ends_what_may_no_more_than_itself_and_nothing_else(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let root = portal.admin("root").await;
    let (weak, strong, equal) =
        (program(&root, &["apply"]).await, program(&root, &["admin", "download"]).await, program(&root, &["apply"]).await);
    let own = async |program: &Person| {
        let me = fine(program.fetch("/api/v1/me").await);
        format!("/api/v1/tokens/{}", me["token"]["id"].as_str().unwrap())
    };
    let (strong_path, equal_path, weak_path) = (own(&strong).await, own(&equal).await, own(&weak).await);
    let child = fine(sends(&weak, "POST", "/api/v1/tokens", json!({ "name": "night", "scopes": ["apply"] })).await);
    let child = root.with_token(child["secret"].as_str().unwrap());

    for asking in [&weak, &child] {
        let page = sends(asking, "DELETE", &strong_path, json!({})).await;
        refused(&page, 403, "token_scope");
        assert_eq!(page.json()["mend"]["path"], "/account/tokens");
    }
    assert_eq!(strong.fetch("/api/v1/me").await.status, 200);
    for (asking, path, ended) in [(&child, &equal_path, &equal), (&weak, &own(&child).await, &child), (&weak, &weak_path, &weak)] {
        assert_eq!(sends(asking, "DELETE", path, json!({})).await.status, 204);
        assert_eq!(ended.fetch("/api/v1/me").await.status, 401);
    }
    let page = root.post(&format!("{}/revoke", strong_path.replace("/api/v1", "/account")), &[]).await;
    assert_eq!((page.status, strong.fetch("/api/v1/me").await.status), (303, 401), "its owner ends any");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_fiftieth_token_is_the_last_however_many_are_asked_for_at_once(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    let mine = program(&ada, &["apply"]).await;
    let wanted = || sends(&mine, "POST", "/api/v1/tokens", json!({ "name": "one of many", "scopes": ["apply"] }));
    let statuses: Vec<u16> = futures_util::future::join_all((0..75).map(|_| wanted())).await.into_iter().map(|page| page.status).collect();
    let of = |status: u16| statuses.iter().filter(|met| **met == status).count();
    assert_eq!((of(200), of(409)), (49, 26), "{statuses:?}");
    let live: i64 = sqlx::query_scalar("select count(*) from token where revoked_at is null").fetch_one(&portal.portal.db).await.unwrap();
    assert_eq!(live, 50);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn releases_go_on_offer_and_off_by_program(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, root) = (portal.researcher("ada").await, portal.admin("root").await);
    let (mine, admin) = (program(&ada, &["apply"]).await, program(&root, &["admin"]).await);
    let draft = portal.drafts("lab/tiny", &Weights::of("preln-fp16-sharded")).await;
    refused(&mine.fetch("/api/v1/models/lab/tiny").await, 404, "not_found");
    let models = fine(admin.fetch("/api/v1/admin/models").await);
    assert_eq!((&models["items"][0]["name"], &models["items"][0]["is_on_offer"]), (&json!("lab/tiny"), &json!(false)));
    let releases = format!("/api/v1/admin/models/{}/releases", models["items"][0]["id"].as_str().unwrap());
    refused(&mine.fetch(&releases).await, 403, "not_an_admin");
    refused(&admin.fetch(&format!("/api/v1/admin/models/{}/releases", ModelId::fresh())).await, 404, "not_found");
    let listed = fine(admin.fetch(&releases).await)["items"][0].clone();
    assert_eq!((&listed["state"], &listed["revision"]), (&json!("draft"), &json!(draft.revision)));
    let id = listed["id"].as_str().unwrap();
    let at = |verb: &str| format!("/api/v1/admin/releases/{id}/{verb}");
    let whole = fine(admin.fetch(at("").trim_end_matches('/')).await);
    assert!(whole["files"].as_array().unwrap().iter().any(|file| file["path"] == "config.json"), "{whole}");

    refused(&sends(&admin, "POST", &at("publish"), json!({ "tag": "no tag" })).await, 422, "invalid");
    refused(&sends(&admin, "POST", &at("publish"), json!({ "gate": "open" })).await, 422, "invalid");
    let published = fine(sends(&admin, "POST", &at("publish"), json!({ "tag": "v1" })).await);
    assert_eq!(
        (&published["release"]["state"], &published["release"]["names"]),
        (&json!("published"), &json!(["main", "v1"])),
        "{published}"
    );
    fine(mine.fetch("/api/v1/models/lab/tiny").await);
    refused(&sends(&admin, "POST", &at("publish"), json!({})).await, 409, "conflict");
    refused(&sends(&admin, "POST", &at("discard"), json!({})).await, 409, "conflict");
    refused(&sends(&admin, "POST", &at("restore"), json!({})).await, 409, "conflict");
    refused(&sends(&admin, "POST", &at("yank"), json!({ "reason": " " })).await, 422, "invalid");
    let yanked = fine(sends(&admin, "POST", &at("yank"), json!({ "reason": "A wrong tokenizer." })).await);
    assert_eq!((&yanked["release"]["state"], &yanked["release"]["yank_reason"]), (&json!("yanked"), &json!("A wrong tokenizer.")));
    refused(&sends(&admin, "POST", &at("yank"), json!({ "reason": "Again." })).await, 409, "conflict");
    assert_eq!(fine(sends(&admin, "POST", &at("restore"), json!({})).await)["release"]["state"], "published");
    let nothing = format!("/api/v1/admin/releases/{}/yank", ReleaseId::fresh());
    refused(&sends(&admin, "POST", &nothing, json!({ "reason": "x" })).await, 404, "not_found");
    refused(&sends(&mine, "POST", &at("yank"), json!({ "reason": "x" })).await, 403, "not_an_admin");

    let second = Weights::of("preln-fp16-sharded");
    second.write("README.md", "# Second");
    let second = portal.drafts("lab/tiny", &second).await;
    let drafted = fine(admin.fetch(&releases).await)["items"][0].clone();
    assert_eq!(drafted["revision"], json!(second.revision), "drafts stand first");
    let gone = format!("/api/v1/admin/releases/{}", drafted["id"].as_str().unwrap());
    assert_eq!(sends(&admin, "POST", &format!("{gone}/discard"), json!({})).await.status, 204);
    refused(&admin.fetch(&gone).await, 404, "not_found");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn people_are_seen_and_erased_by_program(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (ada, grace, root) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.admin("root").await);
    let (desk, admin) = (program(&grace, &["review"]).await, program(&root, &["admin"]).await);
    let mine = program(&ada, &["apply"]).await;
    let id_of = async |of: &tests::Person| {
        fine(program(of, &["apply"]).await.fetch("/api/v1/me").await)["account"]["id"].as_str().unwrap().to_owned()
    };
    let (hers, own) = (id_of(&ada).await, id_of(&root).await);
    let at = |id: &str, verb: &str| format!("/api/v1/admin/people/{id}{verb}");

    let whole = fine(desk.fetch(&at(&hers, "")).await);
    assert_eq!((&whole["person"]["email"], &whole["is_unreachable"]), (&json!(ada.email), &json!(false)));
    refused(&admin.fetch(&at(&hers, "")).await, 403, "token_scope");
    refused(&mine.fetch(&at(&hers, "")).await, 403, "not_a_reviewer");
    refused(&desk.fetch(&at(&AccountId::fresh().to_string(), "")).await, 404, "not_found");

    let address = json!({ "email": ada.email });
    refused(&sends(&desk, "POST", &at(&hers, "/erase"), address.clone()).await, 403, "not_an_admin");
    refused(&sends(&admin, "POST", &at(&hers, "/erase"), json!({ "email": grace.email })).await, 422, "invalid");
    refused(&sends(&admin, "POST", &at(&hers, "/erase"), json!({})).await, 422, "invalid");
    refused(&sends(&admin, "POST", &at(&own, "/erase"), json!({ "email": root.email })).await, 409, "conflict");
    assert_eq!(mine.fetch("/api/v1/me").await.status, 200, "nothing was erased");
    let erased = fine(sends(&admin, "POST", &at(&hers, "/erase"), address.clone()).await);
    assert!(!erased.to_string().contains("ada"), "{erased}");
    assert_eq!(mine.fetch("/api/v1/me").await.status, 401);
    refused(&sends(&admin, "POST", &at(&hers, "/erase"), address).await, 409, "conflict");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_portal_is_looked_after_by_program(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (ada, root) = (portal.researcher("ada").await, portal.admin("root").await);
    let (mine, admin) = (program(&ada, &["apply"]).await, program(&root, &["admin"]).await);
    for path in ["jobs", "store", "statistics", "usage/totals", "usage/generations", "mails", "models"] {
        refused(&mine.fetch(&format!("/api/v1/admin/{path}")).await, 403, "not_an_admin");
        refused(&program(&root, &["apply"]).await.fetch(&format!("/api/v1/admin/{path}")).await, 403, "token_scope");
        fine(admin.fetch(&format!("/api/v1/admin/{path}")).await);
    }

    let mails = fine(admin.fetch("/api/v1/admin/mails").await);
    let mail = mails["items"][0]["id"].as_str().unwrap();
    let whole = fine(admin.fetch(&format!("/api/v1/admin/mails/{mail}")).await);
    assert!(whole["text"].is_string(), "without a mail server they stay in the house: {whole}");
    refused(&admin.fetch(&format!("/api/v1/admin/mails/{}", MailId::fresh())).await, 404, "not_found");
    assert_eq!(fine(sends(&admin, "POST", "/api/v1/admin/mails/retry", json!({})).await)["mails"], 0);
    sqlx::query("update mail set last_error = 'arranged', attempts = 9, gave_up_at = now(), sent_at = null, body = 'x'")
        .execute(&portal.portal.db)
        .await
        .unwrap();
    let jobs = fine(admin.fetch("/api/v1/admin/jobs").await);
    let given_up = jobs["mails"]["given_up"].as_i64().unwrap();
    assert!(given_up > 0, "{jobs}");
    let retried = fine(sends(&admin, "POST", "/api/v1/admin/mails/retry", json!({})).await);
    assert_eq!(retried["mails"], given_up);
    refused(&sends(&admin, "POST", "/api/v1/admin/mails/retry", json!({ "all": true })).await, 422, "invalid");

    let year = fine(admin.fetch("/api/v1/admin/statistics?by=week&model=demo/opt").await);
    assert_eq!((&year["by"], year["figures"].as_array().unwrap().len()), (&json!("week"), 8));
    let waits = year["figures"].as_array().unwrap().iter().find(|figure| figure["name"] == "waits").unwrap();
    assert_eq!(waits["rows"].as_array().unwrap().len(), 53);
    refused(&admin.fetch("/api/v1/admin/statistics?by=decade").await, 422, "invalid");
    refused(&admin.fetch("/api/v1/admin/statistics?model=demo/none").await, 404, "not_found");
    refused(&admin.fetch("/api/v1/admin/usage?state=half").await, 422, "invalid");
    refused(&admin.fetch("/api/v1/admin/usage/totals?to=2026-02-30").await, 422, "invalid");
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

/// Every operation of running the portal, but for those on people's roles and accounts.
pub async fn tries_running(document: &mut Document, portal: &TestPortal, admin: &tests::Person) {
    portal.drafts("lab/tiny", &Weights::of("preln-fp16-sharded")).await;
    let models = document.tries(admin, "GET", "/api/v1/admin/models", "?limit=3", None).await;
    let tiny = models["items"].as_array().unwrap().iter().find(|model| model["name"] == "lab/tiny").unwrap();
    let tiny = tiny["id"].as_str().unwrap().to_owned();
    let listed = document.tries(admin, "GET", "/api/v1/admin/models/{id}/releases", &tiny, None).await;
    let release = listed["items"][0]["id"].as_str().unwrap();
    document.tries(admin, "GET", "/api/v1/admin/releases/{id}", release, None).await;
    document.tries(admin, "POST", "/api/v1/admin/releases/{id}/publish", release, Some(json!({ "tag": "v1" }))).await;
    document.tries(admin, "POST", "/api/v1/admin/releases/{id}/yank", release, Some(json!({ "reason": "A wrong tokenizer." }))).await;
    document.tries(admin, "POST", "/api/v1/admin/releases/{id}/restore", release, Some(json!({}))).await;
    let other = Weights::of("preln-fp16-sharded");
    other.write("README.md", "# Other");
    portal.drafts("lab/tiny", &other).await;
    let listed = fine(admin.fetch(&format!("/api/v1/admin/models/{tiny}/releases")).await);
    let draft = listed["items"][0]["id"].as_str().unwrap();
    document.tries(admin, "POST", "/api/v1/admin/releases/{id}/discard", draft, Some(json!({}))).await;

    let mails = fine(admin.fetch("/api/v1/admin/mails").await);
    document.tries(admin, "GET", "/api/v1/admin/mails/{id}", mails["items"][0]["id"].as_str().unwrap(), None).await;
    document.tries(admin, "POST", "/api/v1/admin/mails/retry", "", Some(json!({}))).await;
    document.tries(admin, "GET", "/api/v1/admin/statistics", "?by=week", None).await;
    document.tries(admin, "GET", "/api/v1/admin/jobs", "", None).await;
    document.tries(admin, "GET", "/api/v1/admin/store", "", None).await;
    document.tries(admin, "GET", "/api/v1/admin/usage/totals", "?state=part", None).await;
    document.tries(admin, "GET", "/api/v1/admin/usage/generations", "", None).await;
    let gone = portal.researcher("gone").await;
    let people = fine(admin.fetch("/api/v1/admin/people?q=gone").await);
    let id = people["items"][0]["id"].as_str().unwrap();
    document.tries(admin, "GET", "/api/v1/admin/people/{id}", id, None).await;
    document.tries(admin, "POST", "/api/v1/admin/people/{id}/erase", id, Some(json!({ "email": gone.email }))).await;
}
