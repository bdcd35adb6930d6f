//! Who may not have it is told why and where to mend it, at the start and in the middle.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Person, Puller, TestPortal, Trouble, Weather};

use super::{Release, publish};

/// Gives somebody access to the only gated model.
pub(super) async fn grants(portal: &TestPortal, who: &Person) {
    sqlx::query(
        "insert into access_grant (id, account_id, model_id, reason, granted_at, expires_at)
         select $1, a.id, m.id, 'arranged', $2, $2 + interval '300 days' from account a, model m where a.email = $3",
    )
    .bind(server::ids::GrantId::fresh().uuid())
    .bind(portal.portal.clock.now())
    .bind(&who.email)
    .execute(&portal.portal.db)
    .await
    .unwrap();
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_may_not_is_told_why_and_where_to_mend_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/gated", Gate::Application).await;
    let nobody = Puller::new(&portal.base);
    nobody.pulls(&release.name, &[]).await.with(4, "Access to model acme/gated is restricted").with(4, "sluice login");
    assert!(!nobody.folder().exists());

    let ada = portal.researcher("ada").await;
    let puller = Puller::new(&portal.base).with_token(&ada.makes_token(&["download"]).await);
    let refused = puller.pulls(&release.name, &[]).await;
    refused.with(4, &format!("{}/acme/gated", portal.base));
    let wrong = Puller::new(&portal.base).with_token(&ada.makes_token(&["api"]).await);
    wrong.pulls(&release.name, &[]).await.with(4, "");
    let bad = Puller::new(&portal.base).with_token("slc_nothing");
    bad.pulls(&release.name, &[]).await.with(4, "unknown, expired or revoked");

    grants(&portal, &ada).await;
    puller.pulls(&release.name, &[]).await.well();
    release.is_whole_at(&puller);
}

/// Takes every access back.
pub(super) async fn takes_back(portal: &TestPortal) {
    let revoked = sqlx::query("update access_grant set revoked_at = $1, revoke_reason = 'arranged'").bind(portal.portal.clock.now());
    revoked.execute(&portal.portal.db).await.unwrap();
}

/// Begins a pull of a gated model, lets one chunk through, does something to the world, and waits for the end.
async fn interrupted(portal: &TestPortal, release: &Release, token: &str, what: impl AsyncFnOnce()) -> (Puller, tests::Ended) {
    let weather =
        Weather::before(&portal.base, |asked| (asked.is_chunk() && asked.before > 8).then_some(Trouble::Delay(Duration::from_millis(400))))
            .await;
    let mut ada = Puller::new(&weather.base).with_token(token);
    let pull = ada.begins(&release.name, &["--jobs", "1"]);
    while weather.chunk_bytes() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    what().await;
    let ended = Puller::ends(pull).await;
    ada.ask(&portal.base);
    (ada, ended)
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_grant_that_is_revoked_or_a_token_that_expires_midway_ends_it_and_it_can_go_on_later(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/gated", Gate::Application).await;
    let ada = portal.researcher("ada").await;
    grants(&portal, &ada).await;
    let token = ada.makes_token(&["download"]).await;
    let (puller, ended) = interrupted(&portal, &release, &token, async || takes_back(&portal).await).await;
    ended.with(4, "was revoked").with(4, &format!("{}/grants/", portal.base));
    grants(&portal, &ada).await;
    let went_on: serde_json::Value = serde_json::from_str(&puller.pulls(&release.name, &["--json"]).await.well().out).unwrap();
    assert!(went_on["bytes_fetched"].as_u64().unwrap() < release.bytes(), "{went_on}");
    release.is_whole_at(&puller);

    let (puller, ended) = interrupted(&portal, &release, &token, async || portal.wait(time::Duration::days(31))).await;
    ended.with(4, "unknown, expired or revoked");
    assert_eq!(ada.signs_in().await.status, 303);
    let token = ada.makes_token(&["download"]).await;
    puller.with_token(&token).pulls(&release.name, &[]).await.well();
}

/// Signs a machine in by a code that ada confirms in her browser.
pub(super) async fn signs_in(machine: &Puller, ada: &Person) {
    let mut login = machine.sluice(&["login"]).spawn().unwrap();
    let stderr = login.stderr.take().unwrap();
    let (line, rest) = tokio::task::spawn_blocking(|| {
        let mut said = BufReader::new(stderr);
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        (line, said)
    })
    .await
    .unwrap();
    let code = line.trim().rsplit_once("user_code=").unwrap_or_else(|| panic!("{line}")).1;
    assert_eq!(ada.post("/device/approve", &[("user_code", code)]).await.location(), "/account/tokens");
    Puller::ends(login).await.well();
    drop(rest);
}

/// The token that a machine keeps.
fn kept_token(machine: &Puller) -> String {
    let kept = std::fs::read_to_string(machine.home().join(".config/sluice/tokens.json")).unwrap();
    kept.split('"').find(|part| part.starts_with("slc_")).unwrap_or_default().to_owned()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whoever_signs_in_by_a_code_copies_nothing_and_signs_out_for_good(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/gated", Gate::Application).await;
    let ada = portal.researcher("ada").await;
    grants(&portal, &ada).await;
    let machine = Puller::new(&portal.base);
    signs_in(&machine, &ada).await;
    let tokens = machine.home().join(".config/sluice/tokens.json");
    assert_eq!(std::fs::metadata(&tokens).unwrap().permissions().mode() & 0o777, 0o600);
    machine.pulls(&release.name, &[]).await.well();
    release.is_whole_at(&machine);

    let stolen = ada.with_token(&kept_token(&machine));
    assert_eq!(stolen.fetch("/api/whoami-v2").await.status, 200);
    ada.get("/account/tokens").await.says("sluice login 20");
    machine.runs(&["logout"]).await.with(0, "revoked and forgotten");
    assert_eq!(kept_token(&machine), "");
    assert_eq!(stolen.fetch("/api/whoami-v2").await.status, 401, "nobody else has it either");
    assert!(!ada.get("/account/tokens").await.text.contains("sluice login 20"));
    machine.pulls(&release.name, &[]).await.with(4, "sluice login");
    machine.runs(&["logout"]).await.with(0, "No token");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_signs_out_offline_is_told_that_the_token_lives(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    let line = Weather::before(&portal.base, |asked| (asked.target == "/oauth/revoke").then_some(Trouble::Status(503, None))).await;
    let machine = Puller::new(&line.base);
    signs_in(&machine, &ada).await;
    let token = kept_token(&machine);
    machine.runs(&["logout"]).await.with(0, "STILL WORKS").with(0, "503").with(0, &format!("{}/account/tokens", line.base));
    assert_eq!(kept_token(&machine), "");
    assert_eq!(ada.with_token(&token).fetch("/api/whoami-v2").await.status, 200);
    signs_in(&machine, &ada).await;
    drop(line);
    machine.runs(&["logout"]).await.with(0, "STILL WORKS");
    assert_eq!(kept_token(&machine), "");
}
