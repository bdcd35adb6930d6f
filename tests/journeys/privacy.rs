//! What is kept of a person: given to them whole, and forgotten when they ask, while everybody else's proofs go on to hold.

use std::path::Path;

use reqwest::Method;
use serde_json::Value;
use server::accounts::{self, Account, Email};
use server::catalog::Gate;
use server::privacy::{Archive, Asker, Erased, erase};
use server::{access, audit, catalog, mail};
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

use crate::apply_and_review::case_of;
use crate::gated::{answers, gated};

/// What stands in everything that somebody put in, and nowhere else.
const CANARY: &str = "quetzalcoatl";

async fn account_of(portal: &TestPortal, email: &str) -> Account {
    let email = Email::parse(email).unwrap();
    accounts::find_by_email(&mut portal.portal.db.acquire().await.unwrap(), &email).await.unwrap().unwrap()
}

/// The tables in which the canary sits: every column of every row of every table is looked at.
async fn where_the_canary_sits(db: &PgPool) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables
         where table_schema = 'public' and table_type = 'BASE TABLE' order by table_name",
    )
    .fetch_all(db)
    .await
    .unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    let mut found = Vec::new();
    for table in tables {
        let rows = format!("select count(*) from \"{table}\" t where strpos(lower(to_jsonb(t)::text), '{CANARY}') > 0");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(db).await.unwrap();
        if rows > 0 {
            found.push(table);
        }
    }
    found
}

/// The files below `folder` in which the canary sits.
fn files_with_the_canary(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with_the_canary(&path));
        } else if String::from_utf8_lossy(&std::fs::read(&path).unwrap()).to_lowercase().contains(CANARY) {
            found.push(path.display().to_string());
        }
    }
    found
}

async fn mails_leave(portal: &TestPortal) {
    while mail::send_next(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock).await.unwrap() {}
}

async fn posts(person: &Person, path: &str, fields: &[(&str, &str)]) -> Page {
    let page = person.post(path, fields).await;
    assert_eq!(page.status, 303, "{path}: {}", page.text);
    page
}

/// The complete form, with the canary in whatever takes words.
async fn canary_answers(person: &Person, path: &str) -> Vec<(String, String)> {
    let mut fields = answers(person, path).await;
    let words = ["organisation", "title", "summary", "lay_summary", "areas", "storage_location"];
    for (name, value) in &mut fields {
        if words.contains(&name.as_str()) {
            value.push_str(" Quetzalcoatl");
        }
    }
    fields.retain(|(name, _)| name != "security_contact");
    let more = [
        ("security_contact", "quetzalcoatl@unito.it"),
        ("department", "Quetzalcoatl department"),
        ("profile_url", "https://uni.example/quetzalcoatl"),
        ("funding", "Quetzalcoatl fund"),
        ("publication_plan", "A paper on Quetzalcoatl."),
        ("ethics", "Quetzalcoatl board"),
        ("controls_text", "A Quetzalcoatl lock."),
    ];
    fields.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    fields
}

async fn sends_form(person: &Person, path: &str) -> Page {
    let fields = canary_answers(person, path).await;
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    posts(person, &format!("{path}/apply"), &fields).await
}

/// Somebody who put the canary into everything there is to put something into.
async fn busy_person(portal: &TestPortal) -> (Person, String) {
    gated(portal, "opt").await;
    gated(portal, "opt-two").await;
    let open = portal.offers("lab/open", Gate::Open, &[("config.json", b"{}")]).await;
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let ada = portal.researcher(CANARY).await;
    posts(&ada, "/account/name", &[("name", "Ada Quetzalcoatl")]).await;

    // A browser, a token and a program that say who they are.
    let sign_in = portal.visitor();
    let token = sign_in.csrf().await;
    let fields = [("email", ada.email.as_str()), ("password", Person::PASSWORD), ("csrf", token.as_str())];
    let page = sign_in.request(Method::POST, "/sign-in").header("user-agent", "Quetzalcoatl/1").form(&fields).send().await.unwrap();
    assert_eq!(page.status(), 303);
    let made = ada.post("/account/tokens", &[("name", "Quetzalcoatl laptop"), ("days", "30"), ("download", "on")]).await;
    let start = made.says("slc_").text.find("slc_").unwrap();
    let secret: String = made.text[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let url = open.url("config.json");
    let got = ada.with_token(&secret).request(Method::GET, &url).header("user-agent", "quetzalcoatl-get/2").send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap().len(), 2);
    crate::download::until(|| portal.ledger.running() == 0).await;
    portal.ledger.write(&portal.portal.db).await.unwrap();
    let asked = [("client_id", "26be6b09-91c5-47da-9861-d2d2bb7a7e36"), ("scope", "")];
    let program = portal.visitor().request(Method::POST, "/oauth/device").header("user-agent", "Quetzalcoatl shell").form(&asked);
    let codes: Value = serde_json::from_str(&program.send().await.unwrap().text().await.unwrap()).unwrap();
    posts(&ada, "/device/approve", &[("user_code", codes["user_code"].as_str().unwrap())]).await;

    // Sent, sent back, sent again, talked about, declined, appealed, approved.
    let application = sends_form(&ada, "/demo/opt").await.location().to_owned();
    let case = case_of(&application);
    posts(&grace, &format!("{case}/changes"), &[("text", "Dear Quetzalcoatl, why so long?"), ("field_months", "on")]).await;
    posts(&ada, "/demo/opt/apply/draft", &[("title", "Half a Quetzalcoatl")]).await;
    sends_form(&ada, "/demo/opt").await;
    posts(&ada, &format!("{application}/comment"), &[("text", "I am Quetzalcoatl."), ("body", "I am Quetzalcoatl.")]).await;
    let words = "This Quetzalcoatl is known to us.";
    posts(&grace, &format!("{case}/comment"), &[("text", words), ("body", words), ("lane", "internal")]).await;
    posts(&grace, &format!("{case}/decline"), &[("reason", "other"), ("text", "Quetzalcoatl is a god.")]).await;
    portal.wait(Duration::minutes(11));
    mails_leave(portal).await;
    posts(&ada, &format!("{application}/appeal"), &[("appeal", "Quetzalcoatl is also a name."), ("text", "Quetzalcoatl is also a name.")])
        .await;
    posts(
        &barbara,
        &format!("{case}/approve"),
        &[("until", "2026-06-30"), ("note", "Welcome, Quetzalcoatl."), ("text", "Welcome, Quetzalcoatl.")],
    )
    .await;
    posts(&ada, "/demo/opt-two/apply/draft", &[("title", "A Quetzalcoatl draft")]).await;

    // A grant of the operator's, and one that was taken back.
    let account = account_of(portal, &ada.email).await;
    for name in ["third", "fourth"] {
        gated(portal, name).await;
        let model = catalog::find_any_model(&mut portal.portal.db.acquire().await.unwrap(), "demo", name).await.unwrap().unwrap();
        let grant = access::give(&portal.portal, None, &account, &model, "Quetzalcoatl asked nicely", 30).await.unwrap();
        if name == "third" {
            let asked = [
                ("summary", "We found Quetzalcoatl in it, and in every copy of it, too."),
                ("publications", "Quetzalcoatl et al."),
                ("months", "3"),
            ];
            posts(&ada, &format!("/grants/{}/renew", grant.id), &asked).await;
        }
        if name == "fourth" {
            access::revoke(&portal.portal, None, grant.id, "Quetzalcoatl moved on").await.unwrap();
        }
    }
    assert_eq!(portal.visitor().post("/sign-in", &[("email", &ada.email), ("password", "wrong")]).await.status, 422);
    portal.portal.audit.integrate(&portal.portal.db).await.unwrap();
    (ada, application)
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_person_takes_everything_along_that_is_kept_of_them(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, application) = busy_person(&portal).await;
    ada.get("/account/data").await.says("Download my data").says("Erase my account");
    let page = ada.fetch("/account/data.json").await;
    assert!(page.header("content-disposition").contains("my-data.json"));
    let data = page.json();
    assert_eq!((data["account"]["email"].as_str(), data["account"]["has_password"].as_bool()), (Some(ada.email.as_str()), Some(true)));
    let rows = |name: &str| data[name].as_array().unwrap_or_else(|| panic!("{name}: {data}")).clone();
    let apps = rows("applications");
    let sent = apps.iter().find(|app| application.ends_with(app["id"].as_str().unwrap())).unwrap();
    assert_eq!((sent["sendings"].as_array().unwrap().len(), sent["state"].as_str()), (2, Some("approved")));
    assert!(sent["attestations"].as_array().unwrap().len() > 5 && sent["thread"].as_array().unwrap().len() >= 3, "{sent}");
    assert_eq!((apps.len(), rows("grants").len(), rows("downloads").len(), rows("tokens").len()), (2, 3, 1, 1));
    assert_eq!(rows("downloads")[0]["client"], "quetzalcoatl-get/2");
    assert!(rows("sessions").iter().any(|session| session["user_agent"] == "Quetzalcoatl/1"));
    assert!(rows("mails").iter().any(|mail| mail["kind"] == "verify_address"));
    assert!(rows("record").iter().any(|event| event["kind"] == "application.approved"));
    for secret in ["secret_hash", "password_hash", "device_hash", "user_code_hash", "slc_", "argon2", "is known to us"] {
        assert!(!page.text.contains(secret), "{secret} is in the archive");
    }
    // The operator's command prints the same.
    let (mut archive, mut printed) = (Archive::of(account_of(&portal, &ada.email).await.id), String::new());
    while let Some(part) = archive.next(&portal.portal).await.unwrap() {
        printed += &part;
    }
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["applications"], data["applications"]);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn nothing_is_left_of_somebody_who_asked_to_be_forgotten_and_every_proof_holds(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, application) = busy_person(&portal).await;
    let bob = portal.researcher("bob").await;
    let other = crate::gated::applies_for(&bob, "/demo/opt").await;
    let db = &portal.portal.db;
    let sits = where_the_canary_sits(db).await;
    for table in [
        "access_grant",
        "account",
        "application",
        "application_comment",
        "application_sending",
        "audit_payload",
        "device_sign_in",
        "download",
        "mail",
        "renewal",
        "session",
        "token",
    ] {
        assert!(sits.contains(&table.to_owned()), "the canary was never put into {table}, so that this test says nothing of it");
    }
    let folder = &portal.portal.config.data_dir;
    assert!(!files_with_the_canary(folder).is_empty(), "mails lie on disk");

    ada.get("/account/erase").await.says("What goes").says("What stays").says("cannot be undone");
    let understood = ("understood", "on");
    for wrong in [vec![understood, ("password", "guess guess guess")], vec![("password", Person::PASSWORD)]] {
        assert_eq!(ada.post("/account/erase", &wrong).await.status, 422);
    }
    let id = account_of(&portal, &ada.email).await.id;
    assert_eq!(ada.post("/account/erase", &[understood, ("password", Person::PASSWORD)]).await.location(), "/");

    assert_eq!(where_the_canary_sits(db).await, Vec::<String>::new());
    assert_eq!(files_with_the_canary(folder), Vec::<String>::new());
    portal.portal.audit.integrate(db).await.unwrap();
    let verdict = audit::verify(db, &portal.portal.audit, &[]).await.unwrap();
    assert_eq!(verdict.fault, None);
    assert!(verdict.erased > 10 && verdict.waiting == 0, "{verdict:?}");

    // They are out, and nothing of theirs counts any more.
    assert_eq!(ada.get("/account").await.status, 303);
    assert_ne!(ada.signs_in().await.status, 303);
    let open: i64 = sqlx::query_scalar("select count(*) from access_grant where revoked_at is null").fetch_one(db).await.unwrap();
    assert_eq!(open, 0);
    // What was decided is still told, of nobody.
    let root = portal.admin("root").await;
    root.get(&case_of(&application)).await.says("Somebody who was erased");
    root.get(&format!("/admin/people/{id}")).await.says("Somebody was here who was forgotten");
    root.get("/admin/audit?kind=account.erased").await.says("themselves");
    root.get("/admin/audit?kind=application").await.says("erased, to forget somebody");
    assert_eq!(root.post(&format!("/admin/people/{id}/reopen"), &[]).await.status, 409);
    // Everybody else is untouched, and the address is free.
    bob.get(&other).await.says("University of Turin");
    assert_eq!(erase(&portal.portal, id, Asker::Operator).await.unwrap(), Erased::Before, "again does nothing");
    assert_eq!(audit::verify(db, &portal.portal.audit, &[]).await.unwrap().fault, None);
    let again = portal.researcher(CANARY).await;
    again.get("/applications").await.says("/models");
    assert_eq!(Email::parse(&format!("{id}@erased.invalid")).ok(), None, "nobody takes the pseudonym's address");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_comes_in_behind_an_erasure_is_cleared_soon_after(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, _) = busy_person(&portal).await;
    let account = account_of(&portal, &ada.email).await;
    erase(&portal.portal, account.id, Asker::Operator).await.unwrap();
    sqlx::query("update download set client = 'late quetzalcoatl' where account_id = $1")
        .bind(account.id.uuid())
        .execute(&portal.portal.db)
        .await
        .unwrap();
    server::privacy::forget_late(&portal.portal).await.unwrap();
    assert_eq!(where_the_canary_sits(&portal.portal.db).await, Vec::<String>::new());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_admin_erases_whoever_asks_for_it_and_the_last_admin_stays(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    let (root_id, ada_id) = (account_of(&portal, &root.email).await.id, account_of(&portal, &ada.email).await.id);
    root.get("/admin/people").await.says(&format!("/admin/people/{ada_id}"));
    let path = format!("/admin/people/{ada_id}");
    root.get(&path).await.says("ada@university.edu").says("Erase this person");
    root.get(&format!("{path}/erase")).await.says("Erase ada").says("What stays");
    assert_eq!(root.post(&format!("{path}/erase"), &[("email", "bob@university.edu")]).await.status, 422);
    assert_eq!(root.post(&format!("{path}/erase"), &[("email", "Ada@University.edu")]).await.status, 303);
    root.get("/admin/people").await.says("Erased").says("Somebody who was erased");
    root.get("/admin/audit?kind=account.erased").await.says("root@lab.example").says("asked by");

    assert_eq!(root.post(&format!("/admin/people/{root_id}/erase"), &[("email", &root.email)]).await.status, 409);
    let refused = erase(&portal.portal, root_id, Asker::Operator).await.unwrap_err();
    assert!(refused.to_string().contains("the only account that runs the portal"), "{refused}");
    assert_eq!(root.post("/account/password", &[("password", Person::PASSWORD)]).await.status, 303);
    let me = [("understood", "on"), ("password", Person::PASSWORD)];
    assert_eq!(root.post("/account/erase", &me).await.status, 409);
    portal.admin("second").await;
    assert_eq!(root.post("/account/erase", &me).await.status, 303);
}
