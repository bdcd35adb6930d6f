//! What mails somebody gets: each, one a working day, or none; and that a digest comes once whatever happens.

use server::access;
use server::mail::{self, Filter};
use sqlx::PgPool;
use tests::{Person, TestPortal};
use time::Duration;

use crate::gated::{applies_for, gated};

const GRACE: &str = "grace@lab.example";

async fn chooses(person: &Person, reviews: &str) {
    let page = person.post("/account/mail", &[("reviews", reviews), ("comments", "each"), ("tokens", "each"), ("releases", "each")]).await;
    assert_eq!((page.status, page.location()), (303, "/account/mail"), "{}", page.text);
}

async fn digests(portal: &TestPortal) -> Vec<String> {
    portal.mails_to(GRACE, "review_digest").await
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_reviewer_chooses_each_application_one_mail_a_day_or_none(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (grace, root) = (portal.reviewer("grace").await, portal.admin("root").await);
    grace.get("/account/mail").await.says("value=\"each\" checked").says("at 6:00 UTC").says(GRACE);
    for (choice, applicant, mails) in [("each", "ada", 1), ("daily", "bob", 1), ("never", "eve", 1), ("each", "joe", 2)] {
        chooses(&grace, choice).await;
        grace.get("/account/mail").await.says(&format!("name=\"reviews\" value=\"{choice}\" checked")).says("Your choice is saved.");
        applies_for(&portal.researcher(applicant).await, "/demo/tiny-opt").await;
        assert_eq!(portal.mails_to(GRACE, "application_to_review").await.len(), mails, "{choice}");
    }
    assert_eq!(portal.mails_to(&root.email, "application_to_review").await.len(), 4, "others choose for themselves");
    assert_eq!(portal.mails_to("bob@university.edu", "application_received").await.len(), 1, "and a receipt is for nobody to refuse");

    let refused =
        grace.post("/account/mail", &[("reviews", "hourly"), ("comments", "never"), ("tokens", "each"), ("releases", "each")]).await;
    assert_eq!(refused.status, 422);
    refused.says("choose one of those offered");
    grace.get("/account/mail").await.says("name=\"comments\" value=\"each\" checked");
    let ada = portal.researcher("ida").await;
    assert!(!ada.get("/account/mail").await.says("Comments on applications").text.contains("Applications to review"));
    assert_eq!(ada.post("/account/mail", &[("comments", "never"), ("tokens", "each"), ("releases", "never")]).await.status, 303);
    ada.get("/account/mail").await.says("name=\"comments\" value=\"never\" checked");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_digest_comes_once_a_working_day_and_never_empty(db: PgPool) {
    // A Monday, nine o'clock; the digest's hour is ten.
    let portal = TestPortal::start_with(db, &[("SLUICE_MAIL_DIGEST_HOUR", "10".into())]).await;
    gated(&portal, "tiny-opt").await;
    let grace = portal.reviewer("grace").await;
    chooses(&grace, "daily").await;
    let path = applies_for(&portal.researcher("ada").await, "/demo/tiny-opt").await.replace("/applications/", "/review/");
    applies_for(&portal.researcher("bob").await, "/demo/tiny-opt").await;

    let sends = async || access::send_digests(&portal.portal).await.unwrap();
    assert_eq!(sends().await, 0, "it is not yet ten");
    portal.wait(Duration::hours(1));
    let (one, two) = tokio::join!(access::send_digests(&portal.portal), access::send_digests(&portal.portal));
    assert_eq!(one.unwrap() + two.unwrap(), 1, "two processes at once write one");
    assert_eq!(sends().await, 0, "nor does a restart write another");
    let [digest] = &digests(&portal).await[..] else { panic!("one digest") };
    assert!(digest.contains("2 applications are waiting for you.") && !digest.contains("overdue"), "{digest}");
    let line = format!("\n- demo/tiny-opt, ada, 1 hour: {}{path}\n", portal.base);
    assert!(digest.contains(&line) && digest.ends_with(&format!("\n\nSee the whole queue: {}/review", portal.base)), "{line}{digest}");

    // Tuesday to Friday, Saturday, Sunday, Monday.
    for (written, total) in [(1, 2), (1, 3), (1, 4), (1, 5), (0, 5), (0, 5), (1, 6)] {
        portal.wait(Duration::days(1));
        assert_eq!((sends().await, digests(&portal).await.len()), (written, total));
    }
    let digest = &digests(&portal).await[0];
    assert!(digest.contains("2 applications are waiting for you, 2 of them overdue.") && digest.contains(" days, overdue: "), "{digest}");

    let decided = portal.reviewer("greta").await;
    for case in mail::page(&mut portal.portal.db.acquire().await.unwrap(), &Filter::default(), 100).await.unwrap() {
        let Some(link) = case.body.as_deref().filter(|_| case.kind == "application_received").and_then(|body| body.split('/').next_back())
        else {
            continue;
        };
        let path = format!("/review/{}/decline", link.trim());
        let page = decided.post(&path, &[("reason", "purpose_unclear"), ("text", "Which models?")]).await;
        assert_eq!(page.status, 303, "{path}: {}", page.text);
    }
    portal.wait(Duration::days(1));
    assert_eq!(sends().await, 0, "nothing waits");
    applies_for(&portal.researcher("eve").await, "/demo/tiny-opt").await;
    portal.wait(Duration::hours(1));
    assert_eq!(sends().await, 0, "and what comes later in the day waits for the next");
    portal.wait(Duration::days(1));
    assert_eq!(sends().await, 1);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_waits_for_longer_than_was_promised_is_told_once_and_digests_name_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    chooses(&portal.reviewer("grace").await, "daily").await;
    let greta = portal.reviewer("greta").await;
    let ada = portal.researcher("ada").await;
    let path = applies_for(&ada, "/demo/tiny-opt").await;
    let told = async |person: &Person| {
        // Two portals' workers at once, and again: nobody is told twice.
        let (one, other) = tokio::join!(access::sweep(&portal.portal), access::sweep(&portal.portal));
        one.and(other).unwrap();
        portal.mails_to(&person.email, "application_overdue").await
    };
    portal.wait(Duration::days(7));
    assert!(told(&ada).await.is_empty(), "an answer within seven days is in time");
    assert!(portal.mails_to(&greta.email, "reviews_overdue").await.is_empty());
    let bob = portal.researcher("bob").await;
    let of_bob = applies_for(&bob, "/demo/tiny-opt").await;
    portal.wait(Duration::MINUTE);
    let mails = told(&ada).await;
    assert!(mails.len() == 1 && mails[0].contains("by 9 March 2026") && mails[0].contains(&path), "{mails:?}");
    portal.wait(Duration::days(30));
    assert_eq!((told(&ada).await.len(), told(&bob).await.len()), (1, 1), "once for an application, after whatever pause");
    let escalated = portal.mails_to(&greta.email, "reviews_overdue").await;
    assert_eq!(escalated.len(), 2, "and so is the reviewer who gets a mail for each: {escalated:?}");
    let case = path.replace("/applications/", "/review/");
    assert_eq!(escalated.iter().filter(|mail| mail.contains(&case)).count(), 1, "{escalated:?}");
    assert!(portal.mails_to(GRACE, "reviews_overdue").await.is_empty(), "the other has it in her digest");

    // What a colleague has taken on and left is told of, too.
    let case = of_bob.replace("/applications/", "/review/");
    assert_eq!(portal.reviewer("gina").await.post(&format!("{case}/claim"), &[]).await.status, 303);
    assert_eq!(access::send_digests(&portal.portal).await.unwrap(), 1);
    let digest = &digests(&portal).await[0];
    assert!(
        digest.contains("One application is waiting for you, and it is overdue. Of those that colleagues have claimed, 1 is overdue."),
        "{digest}"
    );
    assert!(digest.contains(", ada, 37 days, overdue: ") && !digest.contains("bob"), "{digest}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn ones_own_application_is_not_in_ones_digest(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let grace = portal.reviewer("grace").await;
    chooses(&grace, "daily").await;
    applies_for(&grace, "/demo/tiny-opt").await;
    assert_eq!(access::send_digests(&portal.portal).await.unwrap(), 0);
}
