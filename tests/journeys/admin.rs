//! What runs the portal: people, gates, the record, the outbox.

use sqlx::PgPool;
use tests::{Person, TestPortal};

use crate::gated::{applies_for, gated};

async fn id_of(portal: &TestPortal, person: &Person) -> String {
    let id: sqlx::types::Uuid =
        sqlx::query_scalar("select id from account where email = $1").bind(&person.email).fetch_one(&portal.portal.db).await.unwrap();
    server::ids::AccountId::from(id).to_string()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_admins_pages_exist_for_admins_only(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (root, grace, ada) = (portal.admin("root").await, portal.reviewer("grace").await, portal.researcher("ada").await);
    for path in [
        "/admin",
        "/admin/people",
        "/admin/models",
        "/admin/grants",
        "/admin/audit",
        "/admin/usage",
        "/admin/usage/generations",
        "/admin/mail",
    ] {
        assert_eq!(root.get(path).await.status, 200, "{path}");
        assert_eq!(grace.get(path).await.status, 404, "{path}");
        assert_eq!(ada.get(path).await.status, 404, "{path}");
        assert_eq!(portal.visitor().get(path).await.status, 303, "{path}");
    }
    let ada_id = id_of(&portal, &ada).await;
    assert_eq!(ada.post(&format!("/admin/people/{ada_id}/role"), &[("role", "admin")]).await.status, 404);
    assert_eq!(ada.get("/review").await.status, 404);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn roles_change_at_once_and_on_the_record_and_never_ones_own(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    let (ada_id, root_id) = (id_of(&portal, &ada).await, id_of(&portal, &root).await);
    root.get("/admin/people?q=ADA").await.says("ada@university.edu");
    root.get("/admin/people?q=nobody").await.says("Nobody matches");

    for _ in 0..2 {
        assert_eq!(root.post(&format!("/admin/people/{ada_id}/role"), &[("role", "reviewer")]).await.status, 303);
    }
    let [mail] = &portal.mails_to(&ada.email, "role_changed").await[..] else { panic!("one mail for one change") };
    assert!(mail.contains("You are now a reviewer") && mail.contains("/review"), "{mail}");
    assert_eq!(ada.get("/review").await.status, 200);
    root.get("/admin/audit?subject=ada%40university.edu&kind=account").await.says("account.role_changed").says("root@lab.example");

    assert_eq!(root.post(&format!("/admin/people/{ada_id}/role"), &[("role", "emperor")]).await.status, 422);
    assert_eq!(root.post(&format!("/admin/people/{root_id}/role"), &[("role", "researcher")]).await.status, 409);
    assert_eq!(root.post(&format!("/admin/people/{root_id}/close"), &[]).await.status, 409);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn two_admins_removing_each_other_at_once_leave_one(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (anna, berta) = (portal.admin("anna").await, portal.admin("berta").await);
    let (anna_id, berta_id) = (id_of(&portal, &anna).await, id_of(&portal, &berta).await);
    for _ in 0..5 {
        let (to_berta, to_anna) = (format!("/admin/people/{berta_id}/role"), format!("/admin/people/{anna_id}/role"));
        let role = [("role", "researcher")];
        let (first, second) = tokio::join!(anna.post(&to_berta, &role), berta.post(&to_anna, &role));
        let admins: i64 =
            sqlx::query_scalar("select count(*) from account where role = 'admin'").fetch_one(&portal.portal.db).await.unwrap();
        assert_eq!(admins, 1, "{} {}", first.status, second.status);
        sqlx::query("update account set role = 'admin'").execute(&portal.portal.db).await.unwrap();
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_closed_account_is_out_at_once_and_can_come_back(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    let id = id_of(&portal, &ada).await;
    assert_eq!(root.post(&format!("/admin/people/{id}/close"), &[]).await.status, 303);
    root.get("/admin/people").await.says("Closed");
    assert_eq!(ada.get("/account").await.status, 303, "signed out");
    assert_ne!(ada.signs_in().await.status, 303, "and cannot come back");
    assert_eq!(root.post(&format!("/admin/people/{id}/reopen"), &[]).await.status, 303);
    assert_eq!(ada.signs_in().await.status, 303);
    root.get("/admin/audit?kind=account").await.says("account.closed").says("account.reopened");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_gate_changes_on_the_record(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    root.get("/admin/models").await.says("demo/tiny-opt").says("selected>By application");
    let (gate, opening) = (format!("/admin/models/{model}/gate"), format!("/admin/models/{model}/open"));
    applies_for(&ada, "/demo/tiny-opt").await;
    assert_eq!(root.post(&gate, &[("gate", "open")]).await.location(), opening);
    root.get(&opening).await.says("0 grants are in force").says("1 application is waiting");
    let refused = root.post(&opening, &[("name", "demo/another")]).await;
    assert_eq!(refused.status, 422);
    refused.says("this is not the name of this model");
    ada.get("/demo/tiny-opt/apply").await.says("You have applied for");
    assert_eq!(root.post(&opening, &[("name", " Demo/tiny-opt")]).await.location(), "/admin/models");
    assert_eq!(root.get(&opening).await.status, 409, "it is open");
    ada.get("/demo/tiny-opt/apply").await.says("no application is needed");
    root.get("/admin/audit?subject=demo%2Ftiny-opt").await.says("model.gate_changed").says("gate: ");
    assert_eq!(root.post(&gate, &[("gate", "ajar")]).await.status, 422);
    assert_eq!(root.post(&gate, &[("gate", "application")]).await.location(), "/admin/models", "closing asks nothing");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn every_grant_in_force_is_listed_and_can_be_taken_back(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let offer = portal.offers("acme/tiny", server::catalog::Gate::Application, &[("config.json", b"{}")]).await;
    let (root, ada, bob) = (portal.admin("root").await, portal.researcher("ada").await, portal.researcher("bob").await);
    root.get("/admin/grants").await.says("No grant is in force").says("aria-current=\"page\">Grants");

    let case = applies_for(&ada, "/demo/tiny-opt").await.replace("/applications/", "/review/");
    assert_eq!(root.post(&format!("{case}/approve"), &[("until", "2026-08-31"), ("note", "")]).await.status, 303);
    portal.grants(&offer, &bob.email, 3).await;
    let page = root.get("/admin/grants").await;
    page.says("ada@university.edu").says("demo/tiny-opt").says("2 March 2026").says("31 August 2026").says(&case);
    page.says("bob@university.edu").says("acme/tiny").says("5 March 2026").says("3 days left").says("arranged");

    let (before, _) = page.text.split_once("\" aria-label=\"Suspend or revoke the access of bob@university.edu to acme/tiny\"").unwrap();
    let path = before[before.rfind("/admin/grants/").unwrap()..].to_owned();
    root.get(&path).await.says("bob@university.edu").says("Revoke access");
    let refused = root.post(&format!("{path}/revoke"), &[("reason", " ")]).await;
    assert_eq!(refused.status, 422);
    refused.says("say why");
    assert_eq!(root.post(&format!("{path}/revoke"), &[("reason", "Left the project.")]).await.location(), path);
    assert!(!root.get("/admin/grants").await.says("ada@university.edu").text.contains("bob@university.edu"));
    root.get(&path).await.says("no longer valid anywhere");
    assert!(portal.mails_to(&bob.email, "access_revoked").await[0].contains("Left the project."));
    root.get("/admin/audit?kind=grant.revoked").await.says("root@lab.example").says("Left the project.");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_record_tells_all_about_a_person_and_refuses_a_day_that_is_none(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (root, ada, bob) = (portal.admin("root").await, portal.researcher("ada").await, portal.researcher("bob").await);
    let case = applies_for(&ada, "/demo/tiny-opt").await.replace("/applications/", "/review/");
    applies_for(&bob, "/demo/tiny-opt").await;
    assert_eq!(root.post(&format!("{case}/approve"), &[("until", "2026-08-31")]).await.status, 303);
    let about = "subject=ada%40university.edu";
    let page = root.get(&format!("/admin/audit?{about}")).await;
    for kind in ["account.made", "application.submitted", "application.approved", "grant.made"] {
        assert_eq!(page.text.matches(&format!("/admin/audit?kind={kind}\"")).count(), 1, "{kind}: {}", page.text);
    }
    let (file, program) = (root.get(&format!("/admin/audit.csv?{about}")).await, root.with_token(&root.makes_token(&["admin"]).await));
    file.says("\"grant.made\"");
    program.fetch(&format!("/api/v1/admin/audit?{about}")).await.says("grant.made");

    for path in ["/admin/audit?from=yesterday", "/admin/audit?to=2026-02-30", "/admin/audit.csv?from=yesterday"] {
        let page = root.get(path).await;
        assert_eq!(page.status, 422, "{path}");
        page.says("nter a day, such as 2027-03-31");
        assert!(!page.text.contains("account.made"), "{path}: nothing that was not asked for");
    }
    let page = root.get("/admin/audit?from=yesterday&to=2026-03-02").await;
    page.says("value=\"yesterday\" aria-invalid=\"true\" aria-describedby=\"from-error\"").says("value=\"2026-03-02\">");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_record_pages_back_to_its_beginning(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    let mut tx = portal.portal.db.begin().await.unwrap();
    let account = id_of(&portal, &ada).await.parse().unwrap();
    for _ in 0..150 {
        let event = server::audit::Event::SignInFailed { account: Some(account) };
        server::audit::record(&mut tx, portal.portal.clock.now(), None, &event).await.unwrap();
    }
    tx.commit().await.unwrap();
    let first = root.get("/admin/audit?kind=account.sign_in_failed").await;
    assert_eq!(first.text.matches("data-label=\"No.\"").count(), 100);
    let (_, rest) = first.text.split_once("class=\"button\" href=\"/admin/audit?").unwrap();
    let older = format!("/admin/audit?{}", rest.split('"').next().unwrap().replace("&#38;", "&"));
    let second = root.get(&older).await;
    assert_eq!(second.text.matches("data-label=\"No.\"").count(), 50);
    assert!(!second.text.contains(">Older<"));
    root.get("/admin/audit?subject=nothing").await.says("Nothing on record matches");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn mails_that_stay_in_the_house_are_read_in_the_outbox(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let page = root.get("/admin/mail").await;
    page.says("No mail server is set").says("Your application for demo/tiny-opt has arrived").says("Waiting");
    let (before, _) = page.text.split_once("\">Your application for demo/tiny-opt has arrived").unwrap();
    let path = &before[before.rfind("/admin/mail/").unwrap()..];
    root.get(path).await.says("Hello ada").says(&application);

    while server::mail::send_next(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock).await.unwrap() {}
    root.get(path).await.says("Sent").says("Hello ada");
    assert_eq!(root.post(&format!("{path}/retry"), &[]).await.status, 409, "it has left");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_was_downloaded_and_generated_is_seen(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    root.get("/admin/usage").await.says("Nothing has been downloaded yet");
    root.get("/admin/usage/generations").await.says("Nothing has been generated yet");

    let offer =
        portal.offers("acme/tiny", server::catalog::Gate::Open, &[("config.json", b"{}"), ("model.safetensors", &[7; 5_000])]).await;
    assert_eq!(ada.get(&offer.url("model.safetensors")).await.bytes.len(), 5_000);
    portal.writes_the_ledger().await;
    root.get("/admin/usage").await.says("ada@university.edu").says("acme/tiny").says("model.safetensors").says("Complete").says("5.0 kB");

    let release: sqlx::types::Uuid = sqlx::query_scalar("select id from release").fetch_one(&portal.portal.db).await.unwrap();
    let account: server::ids::AccountId = id_of(&portal, &ada).await.parse().unwrap();
    for generation in 0..60 {
        sqlx::query(
            "insert into generation (id, account_id, model_id, release_id, via, prompt_tokens, completion_tokens, started_at, finished_at, finish_reason)
             values ($1, $2, $3, $4, 'api', $5, 20, $6, $6, 'length')",
        )
        .bind(server::ids::GenerationId::fresh().uuid())
        .bind(account.uuid())
        .bind(offer.model.uuid())
        .bind(release)
        .bind(1_000 + generation)
        .bind(portal.portal.clock.now())
        .execute(&portal.portal.db)
        .await
        .unwrap();
    }
    let first = root.get("/admin/usage/generations").await;
    first.says("acme/tiny").says("1059").says("1010");
    let (_, rest) = first.text.split_once("href=\"/admin/usage/generations?before=").unwrap();
    let second = root.get(&format!("/admin/usage/generations?before={}", rest.split('"').next().unwrap())).await;
    second.says("1009").says("1000");
    assert!(!second.text.contains("Older"));
}
