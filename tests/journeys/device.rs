//! Signing a program in from a browser: two codes, one decision, one token.

use reqwest::Method;
use serde_json::Value;
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

const HF: &str = "26be6b09-91c5-47da-9861-d2d2bb7a7e36";

/// A program at a terminal, and the codes it was given.
struct Program {
    at: Person,
    client_id: &'static str,
    device_code: String,
    user_code: String,
}

impl Program {
    async fn starts(portal: &TestPortal, client_id: &'static str, scope: &str) -> Self {
        let at = portal.visitor();
        let page = sends(&at, "/oauth/device", &[("client_id", client_id), ("scope", scope)]).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let codes = json(&page);
        let text = |name: &str| codes[name].as_str().unwrap().to_owned();
        assert_eq!((codes["interval"].as_i64(), codes["expires_in"].as_i64()), (Some(5), Some(900)));
        assert_eq!(text("verification_uri"), format!("{}/device", portal.base));
        assert_eq!(text("verification_uri_complete"), format!("{}/device?user_code={}", portal.base, text("user_code")));
        Self { at, client_id, device_code: text("device_code"), user_code: text("user_code") }
    }

    async fn asks(&self) -> Value {
        let grant_type = "urn:ietf:params:oauth:grant-type:device_code";
        let fields = [("grant_type", grant_type), ("device_code", &self.device_code), ("client_id", self.client_id)];
        json(&sends(&self.at, "/oauth/token", &fields).await)
    }
}

async fn sends(at: &Person, path: &str, fields: &[(&str, &str)]) -> Page {
    Page::of(at.request(Method::POST, path).form(fields).send().await.unwrap()).await
}

fn json(page: &Page) -> Value {
    serde_json::from_str(&page.text).unwrap_or_else(|_| panic!("{}", page.text))
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_program_is_signed_in_by_its_owner_and_its_token_can_be_revoked(db: PgPool) {
    let portal = TestPortal::start(db).await;
    portal.offers("lab/open", Gate::Open, &[("config.json", b"{}")]).await;
    let ada = portal.researcher("ada").await;
    let hf = Program::starts(&portal, HF, "").await;
    assert_eq!(hf.asks().await["error"], "authorization_pending");

    let confirm = format!("/device?user_code={}", hf.user_code.to_lowercase());
    ada.get(&confirm)
        .await
        .says("hf auth login")
        .says("127.0.0.1")
        .says("ada@university.edu")
        .says("download the weights")
        .says(&hf.user_code);
    portal.wait(Duration::seconds(5));
    assert_eq!(hf.asks().await["error"], "authorization_pending", "looking decides nothing");
    assert_eq!(ada.post("/device/approve", &[("user_code", &hf.user_code)]).await.location(), "/account/tokens");

    portal.wait(Duration::seconds(5));
    let answer = hf.asks().await;
    let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!((answer["token_type"].as_str(), answer["scope"].as_str()), (Some("bearer"), Some("download")));
    assert_eq!(answer["expires_in"], 90 * 86_400);
    assert_eq!(hf.asks().await["error"], "invalid_grant", "a code gives one token");

    let terminal = ada.with_token(token);
    let whoami = json(&terminal.fetch("/api/whoami-v2").await);
    assert_eq!(whoami["auth"]["accessToken"]["displayName"], "hf auth login 2026-03-02");
    assert_eq!(terminal.fetch("/v1/models/lab/open").await.status, 403, "it asked for downloads alone");
    let [mail] = &portal.mails_to("ada@university.edu", "token_made").await[..] else { panic!("one mail") };
    assert!(mail.contains("hf auth login 2026-03-02") && !mail.contains("slc_"), "{mail}");

    let tokens = ada.get("/account/tokens").await;
    let revoke = tokens.says("hf auth login 2026-03-02").text.split("action=\"/account/tokens/").nth(1).unwrap().split('"').next().unwrap();
    ada.post(&format!("/account/tokens/{revoke}"), &[]).await;
    assert_eq!(terminal.fetch("/api/whoami-v2").await.status, 401);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whoever_has_a_token_can_end_it_and_learns_nothing_of_others(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    let (token, other) = (ada.makes_token(&["download"]).await, ada.makes_token(&["download"]).await);
    let nobody = portal.visitor();
    let revokes = async |token: &str| sends(&nobody, "/oauth/revoke", &[("token", token), ("client_id", "sluice")]).await;
    for shown in ["slc_nothing", "nonsense", &token.to_uppercase(), &token, &token] {
        let page = revokes(shown).await;
        assert_eq!((page.status, page.text.as_str()), (200, ""), "{shown}");
    }
    assert_eq!(json(&revokes("").await)["error"], "invalid_request");
    assert_eq!(ada.with_token(&token).fetch("/api/whoami-v2").await.status, 401);
    assert_eq!(ada.with_token(&other).fetch("/api/whoami-v2").await.status, 200);
    let mut db = portal.portal.db.acquire().await.unwrap();
    let record = server::audit::page(&mut db, &Default::default(), 10).await.unwrap();
    assert_eq!(record.iter().filter(|event| event.kind == "token.revoked").count(), 1);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_program_that_nobody_wants_gets_nothing(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    let (denied, late) = (Program::starts(&portal, "sluice", "api download").await, Program::starts(&portal, "sluice", "").await);
    ada.get(&format!("/device?user_code={}", denied.user_code)).await.says("sluice login").says("generate text");
    ada.post("/device/deny", &[("user_code", &denied.user_code)]).await;
    assert_eq!(denied.asks().await["error"], "access_denied");
    assert_eq!(ada.post("/device/approve", &[("user_code", &denied.user_code)]).await.status, 409, "decided once");

    portal.wait(Duration::minutes(15));
    assert_eq!(late.asks().await["error"], "expired_token");
    assert_eq!(ada.get(&format!("/device?user_code={}", late.user_code)).await.status, 422);
    assert_eq!(ada.post("/device/approve", &[("user_code", &late.user_code)]).await.status, 409);
    assert!(portal.mails_to("ada@university.edu", "token_made").await.is_empty());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_asks_too_often_waits_longer_and_who_asks_for_nonsense_is_told(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let hf = Program::starts(&portal, HF, "").await;
    assert_eq!(hf.asks().await["error"], "authorization_pending");
    assert_eq!(hf.asks().await["error"], "slow_down");
    portal.wait(Duration::seconds(6));
    assert_eq!(hf.asks().await["error"], "slow_down", "ten seconds by now");
    portal.wait(Duration::seconds(15));
    assert_eq!(hf.asks().await["error"], "authorization_pending");

    let nobody = portal.visitor();
    let grant_type = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    for (path, fields, error) in [
        ("/oauth/device", vec![("client_id", "somebody")], "invalid_client"),
        ("/oauth/device", vec![("client_id", HF), ("scope", "admin")], "invalid_scope"),
        ("/oauth/token", vec![("client_id", HF), ("grant_type", "refresh_token")], "unsupported_grant_type"),
        ("/oauth/token", vec![("client_id", HF), grant_type], "invalid_request"),
        ("/oauth/token", vec![("client_id", HF), grant_type, ("device_code", "guessed")], "invalid_grant"),
        ("/oauth/token", vec![("client_id", "sluice"), grant_type, ("device_code", &hf.device_code)], "invalid_grant"),
    ] {
        let page = sends(&nobody, path, &fields).await;
        assert_eq!((page.status, json(&page)["error"].as_str()), (400, Some(error)), "{path} {fields:?}");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn codes_are_neither_guessed_nor_hoarded(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    let mut statuses = Vec::new();
    for _ in 0..21 {
        statuses.push(ada.get("/device?user_code=WDJB-MJHT").await.status);
    }
    assert_eq!((statuses[0], statuses[19], statuses[20]), (422, 422, 429));
    let waits = Program::starts(&portal, HF, "").await;
    assert_eq!(ada.get(&format!("/device?user_code={}", waits.user_code)).await.status, 200, "a right code is not a guess");

    let nobody = portal.visitor();
    let mut last = 0;
    for _ in 0..45 {
        last = sends(&nobody, "/oauth/device", &[("client_id", HF)]).await.status;
    }
    assert_eq!(last, 429);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_was_approved_before_the_password_was_changed_is_void(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    let hf = Program::starts(&portal, HF, "").await;
    ada.post("/device/approve", &[("user_code", &hf.user_code)]).await;
    ada.post("/forgot", &[("email", "ada@university.edu")]).await;
    let key = portal.key_mailed_to("ada@university.edu", "reset_password").await;
    ada.post("/reset", &[("key", &key), ("password", "another fine sentence")]).await;
    assert_eq!(hf.asks().await["error"], "access_denied");
}
