//! The outbox between a change and its mail: held, taken back, claimed by one worker alone.

use server::clock::Timestamp;
use server::mail::{self, Message};
use sqlx::PgPool;
use tests::TestPortal;
use time::Duration;

const SUBJECT: &str = "app_00000000000000000000000001";

fn verdict(to: &str) -> Message {
    let (name, model, link) = ("Ada".into(), "demo/tiny-opt".into(), "http://portal.example/applications/1".into());
    Message::ApplicationReceived { to: to.into(), name, model, link }
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
