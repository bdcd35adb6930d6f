//! The outbox between a change and its mail: held, taken back, claimed by one worker alone.

use server::clock::Timestamp;
use server::ids::MailId;
use server::mail::{self, Message};
use sqlx::PgPool;
use tests::TestPortal;
use time::Duration;

use crate::api::{fine, program};

const SUBJECT: &str = "app_00000000000000000000000001";

fn verdict(to: &str) -> Message {
    let (name, model, link) = ("Ada".into(), "demo/tiny-opt".into(), "http://portal.example/applications/1".into());
    Message::ApplicationReceived { to: to.into(), name, model, promised: "8 March 2026".into(), link }
}

async fn holds(portal: &TestPortal, until: Timestamp, to: &str) {
    let mut tx = portal.portal.db.begin().await.unwrap();
    mail::hold(&mut tx, portal.portal.clock.now(), until, SUBJECT, &verdict(to)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn takes_back(portal: &TestPortal) -> u64 {
    mail::take_back(&mut portal.portal.db.acquire().await.unwrap(), SUBJECT).await.unwrap()
}

async fn sends(portal: &TestPortal) -> bool {
    mail::send_next(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock).await.unwrap()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_held_mail_leaves_when_its_time_has_come_and_not_before(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let until = portal.portal.clock.now() + Duration::minutes(10);
    holds(&portal, until, "ada@university.edu").await;
    assert!(!sends(&portal).await);
    portal.wait(Duration::minutes(10) - Duration::SECOND);
    assert!(!sends(&portal).await);
    portal.admin("root").await.get("/admin/mail").await.says("Held").says("until 2 March 2026, 09:10 UTC");
    portal.wait(Duration::SECOND);
    assert!(sends(&portal).await);
    assert_eq!(takes_back(&portal).await, 0, "what has left cannot be taken back");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_held_mail_that_is_taken_back_was_never_written(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let until = portal.portal.clock.now() + Duration::minutes(10);
    holds(&portal, until, "ada@university.edu").await;
    holds(&portal, until, "bob@university.edu").await;
    assert_eq!(takes_back(&portal).await, 2);
    assert_eq!(takes_back(&portal).await, 0);
    portal.wait(Duration::hours(1));
    assert!(!sends(&portal).await);
    assert!(portal.mails_to("ada@university.edu", "application_received").await.is_empty());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_outbox_is_filtered_searched_paged_and_exported(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let root = portal.admin("root").await;
    root.get("/admin/mail").await.says("No mail was written yet.");
    for number in 0..120 {
        let message = verdict(&format!("reader-{number:03}@university.edu"));
        mail::enqueue(&mut portal.portal.db.acquire().await.unwrap(), portal.portal.clock.now(), &message).await.unwrap();
    }
    for _ in 0..3 {
        assert!(sends(&portal).await);
    }
    root.get("/admin/mail?state=waiting").await.says("Waiting (117)").says("Given up (0)");
    root.get("/admin/mail?state=given_up").await.says("No mail was given up.").says("Show all mails");
    root.get("/admin/mail?state=bounced").await.says("No mail came back.");
    root.get("/admin/mail?q=nobody").await.says("No such mail to an address that begins so.");
    root.get("/admin/mail?state=nonsense&before=").await;

    let (mut path, mut seen) = ("/admin/mail?state=waiting&q=Reader-".to_owned(), Vec::new());
    loop {
        let page = root.get(&path).await;
        seen.extend(page.text.split("data-label=\"To\">").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()));
        let Some((_, rest)) = page.text.split_once("class=\"button\" href=\"/admin/mail?") else { break };
        path = format!("/admin/mail?{}", rest.split('"').next().unwrap().replace("&#38;", "&"));
    }
    let expected: Vec<String> = (3..120).rev().map(|number| format!("reader-{number:03}@university.edu")).collect();
    assert_eq!(seen, expected, "every one once, the newest first");

    let csv = root.fetch("/admin/mail.csv?state=sent").await;
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"mail.csv\"");
    assert_eq!(csv.text.lines().count(), 1 + 3);
    csv.says("id,written_at,kind,to,subject,state,tries,").says("\"reader-000@university.edu\"").says(",\"sent\",1,,2026-03-02T09:00:00Z,");
    let lines = root.fetch("/admin/mail.jsonl?q=reader-11").await;
    let mails: Vec<serde_json::Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((mails.len(), &mails[0]["to"], &mails[0]["state"]), (10, &"reader-119@university.edu".into(), &"waiting".into()));
    assert!(!lines.text.contains("Hello"), "no texts");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_words_of_a_mail_go_after_ninety_days_and_that_it_went_stays(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let root = portal.admin("root").await;
    let now = portal.portal.clock.now();
    for to in ["ada@university.edu", "bob@university.edu", "eve@university.edu"] {
        holds(&portal, now, to).await;
    }
    while sends(&portal).await {}
    let db = &portal.portal.db;
    let set = async |sql: &'static str| assert_eq!(sqlx::query(sql).bind(now).execute(db).await.unwrap().rows_affected(), 1);
    set("update mail set bounced_at = $1, bounce = '550 no mailbox of Bob' where recipient = 'bob@university.edu'").await;
    set("update mail set sent_at = null, gave_up_at = $1, attempts = 245, last_error = 'eve was refused' where recipient = 'eve@university.edu'").await;
    // One that waits is as old as they are, and keeps its words.
    holds(&portal, now + Duration::days(365), "late@university.edu").await;
    let folder = portal.portal.config.data_dir.join("mail");
    let files = || {
        std::fs::read_dir(&folder).unwrap().filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "eml")).count()
    };
    assert_eq!(files(), 3);
    let forgets = async || mail::forget_words(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock).await.unwrap();

    portal.wait(Duration::days(90));
    assert_eq!((forgets().await, files()), (0, 3));
    portal.wait(Duration::SECOND);
    assert_eq!((forgets().await, files()), (3, 0));
    assert_eq!(forgets().await, 0, "once");
    let with_words: Vec<String> = sqlx::query_scalar(
        "select recipient from mail where body is not null or last_error is not null or bounce <> '' order by recipient",
    )
    .fetch_all(db)
    .await
    .unwrap();
    assert_eq!(with_words, ["late@university.edu"]);

    // The line stays, and tells what became of it.
    let root_again = portal.admin("wheel").await;
    root_again
        .get("/admin/mail")
        .await
        .says("ada@university.edu")
        .says("Bounced")
        .says("Given up")
        .says("Your application for demo/tiny-opt has arrived");
    let id: String = sqlx::query_scalar("select id::text from mail where recipient = 'eve@university.edu'").fetch_one(db).await.unwrap();
    let id = server::ids::MailId::from(id.parse::<sqlx::types::Uuid>().unwrap());
    root_again.get(&format!("/admin/mail/{id}")).await.says("Its text is gone: 90 days after");
    let again = root_again.post(&format!("/admin/mail/{id}/retry"), &[]).await;
    assert_eq!(again.status, 409);
    again.says("has lost its words to time");
    root_again.post("/admin/mail/retry", &[]).await;
    assert!(!sends(&portal).await, "there is nothing to send any more");
    drop(root);
}

/// Where the newest mail of one kind to one address is shown.
async fn mail_to(portal: &TestPortal, email: &str, kind: &str) -> MailId {
    let mails = mail::page(&mut portal.portal.db.acquire().await.unwrap(), &mail::Filter::default(), 1_000).await.unwrap();
    mails.into_iter().find(|mail| mail.recipient == email && mail.kind == kind).unwrap().id
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_key_to_an_account_is_shown_to_nobody_but_an_admin_who_lets_a_newcomer_in(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    let stranger = portal.visitor();
    stranger.post("/sign-up", &[("name", "Eve"), ("email", "eve@university.edu")]).await;
    for email in [&ada.email, &root.email] {
        stranger.post("/forgot", &[("email", email)]).await;
    }
    let admin = program(&root, &["admin"]).await;
    let mails = [(&*ada.email, "reset_password"), (&*root.email, "reset_password"), ("eve@university.edu", "verify_address")];
    for (email, kind) in mails {
        let (id, key) = (mail_to(&portal, email, kind).await, portal.key_mailed_to(email, kind).await);
        let whole = fine(admin.fetch(&format!("/api/v1/admin/mails/{id}")).await);
        assert!(whole["text"].is_null() && !whole.to_string().contains(&key), "{whole}");
        let page = root.get(&format!("/admin/mail/{id}")).await;
        if kind == "verify_address" {
            // Without a mail server there is no other way in for somebody who has never been here.
            page.says(&format!("/verify?key={key}"));
        } else {
            page.says("/reset?key=…").says(&format!("sluice user link {email}"));
            assert!(!page.text.contains(&key), "{email}");
        }
        for list in ["/admin/mail", "/admin/mail.csv", "/admin/mail.jsonl"] {
            assert!(!root.fetch(list).await.text.contains(&key), "{list}");
        }
    }
    // Whoever may read the data folder runs the portal anyway.
    while sends(&portal).await {}
    let key = portal.key_mailed_to(&ada.email, "reset_password").await;
    let folder = portal.portal.config.data_dir.join("mail");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default());
    assert!(files.filter(|file| file.replace("=\r\n", "").contains(&key)).count() > 0);
    // Another text is read as before.
    let id = mail_to(&portal, &root.email, "token_made").await;
    assert!(fine(admin.fetch(&format!("/api/v1/admin/mails/{id}")).await)["text"].as_str().unwrap().contains("token"));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_mail_that_is_tried_again_is_not_one_that_is_held(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let root = portal.admin("root").await;
    let now = portal.portal.clock.now();
    holds(&portal, now + Duration::MINUTE, "ada@university.edu").await;
    root.get("/admin/mail").await.says("can be taken back");
    portal.wait(Duration::HOUR);
    let id: sqlx::types::Uuid = sqlx::query_scalar("update mail set gave_up_at = $1, attempts = 245, last_error = 'refused' returning id")
        .bind(portal.portal.clock.now())
        .fetch_one(&portal.portal.db)
        .await
        .unwrap();
    let page = format!("/admin/mail/{}", server::ids::MailId::from(id));
    assert_eq!(root.post(&format!("{page}/retry"), &[]).await.status, 303);
    let again = root.get(&page).await;
    assert!(!again.says("to be sent in a moment").text.contains("taken back"), "{}", again.text);
}
