//! Near the end of a grant: notices, once each; a renewal, asked and decided; and giving access back.

use server::access;
use server::catalog::Gate;
use server::ids::GrantId;
use sqlx::PgPool;
use tests::{Offer, Page, Person, TestPortal};
use time::Duration;

use crate::grants::{events_of, grant_of};

/// A gated model, and somebody who has access to it for so many days.
async fn with_access(db: PgPool, days: i64) -> (TestPortal, Offer, Person, GrantId) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/tiny", Gate::Application, &[("model.safetensors", &[7; 5_000])]).await;
    let ada = portal.researcher("ada").await;
    portal.grants(&offer, &ada.email, days).await;
    let id = grant_of(&portal, &ada).await;
    (portal, offer, ada, id)
}

async fn subjects(portal: &TestPortal, person: &Person) -> Vec<String> {
    let mut db = portal.portal.db.acquire().await.unwrap();
    let mails = server::mail::page(&mut db, &server::mail::Filter::default(), 1_000).await.unwrap();
    mails.into_iter().rev().filter(|mail| mail.recipient == person.email && mail.kind == "access_ends").map(|mail| mail.subject).collect()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_holder_is_told_of_the_end_once_for_each_notice_and_of_the_most_urgent_after_a_pause(db: PgPool) {
    let (portal, offer, ada, _) = with_access(db, 180).await;
    let (bob, cora) = (portal.researcher("bob").await, portal.researcher("cora").await);
    let sweep = async || {
        // Two portals' workers at once, and again: nobody is told twice.
        let (one, other) = futures_util::future::join(access::sweep(&portal.portal), access::sweep(&portal.portal)).await;
        one.and(other).unwrap();
        access::sweep(&portal.portal).await.unwrap();
        subjects(&portal, &ada).await.len()
    };
    assert_eq!(sweep().await, 0);
    portal.wait(Duration::days(120) - Duration::MINUTE);
    assert_eq!(sweep().await, 0);
    portal.wait(Duration::MINUTE);
    assert_eq!(sweep().await, 1);
    portal.wait(Duration::days(29));
    assert_eq!(sweep().await, 1);
    portal.wait(Duration::DAY);
    assert_eq!(sweep().await, 2);

    portal.grants(&offer, &bob.email, 30).await;
    portal.grants(&offer, &cora.email, 30).await;
    let stopped = grant_of(&portal, &cora).await;
    sqlx::query("update access_grant set suspended_at = granted_at, suspend_reason = 'arranged' where id = $1")
        .bind(stopped.uuid())
        .execute(&portal.portal.db)
        .await
        .unwrap();
    portal.wait(Duration::days(26));
    assert_eq!(sweep().await, 3, "the week has passed unsaid, so four days are told");
    portal.wait(Duration::days(3));
    assert_eq!(sweep().await, 4);
    assert_eq!(
        subjects(&portal, &ada).await,
        ["60 days", "30 days", "4 days", "1 day"].map(|left| format!("Your access to lab/tiny ends in {left}"))
    );
    assert_eq!(subjects(&portal, &bob).await.len(), 2, "thirty days are a week and a day: none in the first half, as the reviewer reads");
    assert_eq!(subjects(&portal, &cora).await.len(), 0, "who is suspended is not told");
    sqlx::query("update access_grant set suspended_at = null, suspend_reason = null").execute(&portal.portal.db).await.unwrap();
    sweep().await;
    assert_eq!(subjects(&portal, &cora).await, ["Your access to lab/tiny ends in 1 day"], "and is, as soon as it goes on");
    portal.wait(Duration::days(2));
    assert_eq!(sweep().await, 4, "what is over is not announced");
    for person in [&ada, &bob, &cora] {
        let told = portal.mails_to(&person.email, "access_ended").await;
        assert_eq!(told.len(), 1, "once, that it has ended: {told:?}");
        assert!(told[0].contains("Your access to lab/tiny ended on") && told[0].contains("within 90 days"), "{}", told[0]);
    }
    let dora = portal.researcher("dora").await;
    portal.grants(&offer, &dora.email, 1).await;
    portal.wait(Duration::days(30));
    sweep().await;
    assert!(portal.mails_to(&dora.email, "access_ended").await.is_empty(), "nobody is told after a month");
    let mail = &portal.mails_to(&bob.email, "access_ends").await[0];
    assert!(mail.contains(&format!("/grants/{}", grant_of(&portal, &bob).await)), "{mail}");
}

async fn asks(person: &Person, grant: GrantId, months: &str) -> Page {
    let fields = [
        ("summary", "We measured how negation fares with size, and found that size helps little.\nA second round is planned."),
        ("publications", "Negation in small models, https://doi.org/10.1000/182\n\n<b>Another</b>"),
        ("months", months),
    ];
    person.post(&format!("/grants/{grant}/renew"), &fields).await
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_grant_is_renewed_by_a_few_lines_and_a_reviewer(db: PgPool) {
    let (portal, offer, ada, id) = with_access(db, 180).await;
    let program = ada.with_token(&ada.makes_token(&["download"]).await);
    assert_eq!(program.fetch(&offer.url("model.safetensors")).await.status, 200);
    portal.writes_the_ledger().await;
    let page = format!("/grants/{id}");
    ada.get(&page).await.says("can be renewed from 30 June 2026").says("5.0 kB").says("in 1 file").says("download the weights");
    assert_eq!(asks(&ada, id, "6").await.status, 409);

    portal.wait(Duration::days(150));
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    ada.signs_in().await;
    let refused = ada.post(&format!("{page}/renew"), &[("summary", "Science."), ("months", "13")]).await;
    assert_eq!(refused.status, 422);
    refused.says("enter 40 to 2,000 characters").says("enter a whole number from 1 to 12").says("Science.");
    assert_eq!(asks(&ada, id, "6").await.status, 303);
    assert_eq!(asks(&ada, id, "6").await.status, 409, "one at a time");
    ada.get(&page).await.says("Your request is waiting for a reviewer").says("In review");
    assert_eq!(ada.post(&format!("{page}/renew/withdraw"), &[]).await.status, 303);
    assert_eq!(ada.post(&format!("{page}/renew/withdraw"), &[]).await.status, 409);
    assert_eq!(asks(&ada, id, "6").await.status, 303);

    let mail = &portal.mails_to(&grace.email, "renewal_to_review").await[0];
    let case = mail.split_whitespace().find_map(|word| word.strip_prefix(&portal.base)).unwrap().to_owned();
    grace.get("/review/renewals").await.says("ada").says("lab/tiny").says("6 months").says(&case);
    let shown = grace.get(&case).await;
    shown.says("60, 30, 7 and 1 days before the end, but none in the first half of the time");
    shown.says("size helps little").says("&#60;b&#62;Another").says("5.0 kB").says("value=\"2027-02-25\"");
    let refused = grace.post(&format!("{case}/decline"), &[("text", " ")]).await;
    assert_eq!(refused.status, 422);
    refused.says("say why");
    assert_eq!(grace.post(&format!("{case}/decline"), &[("text", "Which second round?")]).await.status, 303);
    assert_eq!(barbara.post(&format!("{case}/approve"), &[("until", "2027-01-31")]).await.status, 409);
    assert!(portal.mails_to(&ada.email, "renewal_declined").await[0].contains("Which second round?"));
    ada.get(&page).await.says("Declined").says("Which second round?").says("Ask for a renewal");

    // The end passes meanwhile; a renewal may come after it.
    assert_eq!(asks(&ada, id, "6").await.status, 303);
    portal.wait(Duration::days(40));
    ada.signs_in().await;
    let grace = portal.reviewer("gladys").await;
    ada.get(&page).await.says("Your access ended on 29 August 2026; a renewal opens it again");
    assert_eq!(program_after(&ada).await.fetch(&offer.url("model.safetensors")).await.status, 403);
    let list = grace.get("/review/renewals").await;
    let (_, rest) = list.text.split_once("/review/renewals/").unwrap();
    let case = format!("/review/renewals/{}", rest.split('"').next().unwrap());
    for wrong in ["2026-08-01", "2027-12-31", "soon"] {
        assert_eq!(grace.post(&format!("{case}/approve"), &[("until", wrong)]).await.status, 422, "{wrong}");
    }
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2027-03-31"), ("text", "Send us the paper!")]).await.status, 303);
    assert_eq!(program_after(&ada).await.fetch(&offer.url("model.safetensors")).await.status, 200);
    ada.get(&page).await.says("Until").says("31 March 2027").says("Renewed").says("Send us the paper!");
    assert!(portal.mails_to(&ada.email, "access_renewed").await[0].contains("31 March 2027"));
    let kinds = events_of(&portal, &id.to_string()).await;
    assert_eq!(
        kinds,
        ["requested", "withdrawn", "requested", "declined", "requested", "approved"].map(|what| format!("grant.renewal_{what}"))
    );
}

async fn program_after(person: &Person) -> Person {
    person.with_token(&person.makes_token(&["download"]).await)
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_nobody_can_renew_any_more_lapses(db: PgPool) {
    let (portal, offer, ada, id) = with_access(db, 20).await;
    let bob = portal.researcher("bob").await;
    portal.grants(&offer, &bob.email, 20).await;
    let bobs = grant_of(&portal, &bob).await;
    assert_eq!(asks(&ada, id, "6").await.status, 303);
    assert_eq!(asks(&bob, bobs, "6").await.status, 303);
    access::revoke(&portal.portal, None, bobs, "passed on").await.unwrap();
    portal.wait(Duration::days(109));
    access::sweep(&portal.portal).await.unwrap();
    assert_eq!(portal.mails_to(&bob.email, "renewal_lapsed").await.len(), 1, "it was revoked");
    assert_eq!(portal.mails_to(&ada.email, "renewal_lapsed").await.len(), 0);
    portal.wait(Duration::DAY);
    for _ in 0..2 {
        access::sweep(&portal.portal).await.unwrap();
    }
    assert_eq!(portal.mails_to(&ada.email, "renewal_lapsed").await.len(), 1);
    ada.signs_in().await;
    ada.get(&format!("/grants/{id}")).await.says("Lapsed").says("too long ago to be renewed");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn nobody_renews_their_own_grant_or_sees_anothers(db: PgPool) {
    let (portal, offer, ada, id) = with_access(db, 20).await;
    let (grace, bob) = (portal.reviewer("grace").await, portal.researcher("bob").await);
    portal.grants(&offer, &grace.email, 20).await;
    let own = grant_of(&portal, &grace).await;
    assert_eq!(asks(&grace, own, "6").await.status, 303);
    let list = grace.get("/review/renewals").await;
    let (_, rest) = list.text.split_once("/review/renewals/").unwrap();
    let case = format!("/review/renewals/{}", rest.split('"').next().unwrap());
    grace.get(&case).await.says("This is your own request");
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-12-31")]).await.status, 403);
    assert_eq!(grace.post(&format!("{case}/decline"), &[("text", "no")]).await.status, 403);
    for person in [&bob, &grace] {
        assert_eq!(person.get(&format!("/grants/{id}")).await.status, 404);
        assert_eq!(asks(person, id, "6").await.status, 404);
        assert_eq!(person.post(&format!("/grants/{id}/close"), &[("deleted", "on")]).await.status, 404);
    }
    assert_eq!(asks(&ada, id, "6").await.status, 303);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_holder_gives_access_back_and_attests_that_nothing_is_left(db: PgPool) {
    let (portal, offer, ada, id) = with_access(db, 90).await;
    let program = ada.with_token(&ada.makes_token(&["download"]).await);
    let close = format!("/grants/{id}/close");
    let refused = ada.post(&close, &[]).await;
    assert_eq!(refused.status, 422);
    refused.says("tick this: access can be closed");
    assert_eq!(program.fetch(&offer.url("model.safetensors")).await.status, 200);

    assert_eq!(ada.post(&close, &[("deleted", "on")]).await.status, 303);
    let closed = program.fetch(&offer.url("model.safetensors")).await;
    assert_eq!(closed.status, 403);
    assert!(closed.header("x-error-message").contains("You have closed your access to lab/tiny"), "{}", closed.header("x-error-message"));
    ada.get(&format!("/grants/{id}")).await.says("Closed by you on 2 March 2026");
    ada.get("/lab/tiny").await.says("You have closed your access").says("Apply again");
    ada.get("/applications").await.says("Closed").says("Apply again");
    assert!(portal.mails_to(&ada.email, "access_closed").await[0].contains(access::DELETED));
    assert_eq!(events_of(&portal, &id.to_string()).await, ["grant.closed"]);
    assert_eq!(ada.post(&close, &[("deleted", "on")]).await.status, 409);
    // A new grant may follow.
    portal.grants(&offer, &ada.email, 5).await;
    assert_eq!(program.fetch(&offer.url("model.safetensors")).await.status, 200);
}
