//! From "may I?" to "you may" and back: the stories of applicants and reviewers, through the pages.

use sqlx::PgPool;
use tests::{Person, TestPortal};
use time::Duration;

use crate::gated::{answers, applies_for, gated, open_model};

/// The path of the only application of this person, from their list.
pub async fn application_of(person: &Person) -> String {
    let page = person.get("/applications").await;
    let (_, rest) = page.text.split_once("href=\"/applications/").unwrap_or_else(|| panic!("no application is listed: {}", page.text));
    format!("/applications/{}", rest.split('"').next().unwrap())
}

pub fn case_of(application: &str) -> String {
    application.replace("/applications/", "/review/")
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_application_is_sent_read_and_approved(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    ada.get("/applications").await.says("You have not applied for anything yet");
    grace.get("/review").await.says("Nobody is waiting");
    ada.get("/demo/tiny-opt/apply").await.says("Non-commercial research licence, all of it.").says("Save draft");

    let application = applies_for(&ada, "/demo/tiny-opt").await;
    ada.get(&application).await.says("In review").says("A reviewer reads it").says("Negation in language models").says("Withdraw");
    ada.get("/demo/tiny-opt/apply").await.says("You have applied for demo/tiny-opt");
    assert_eq!(portal.mails_to(&ada.email, "application_received").await.len(), 1);
    let mails = portal.mails_to(&grace.email, "application_to_review").await;
    assert!(mails[0].contains(&case_of(&application)), "{}", mails[0]);

    portal.wait(Duration::days(2));
    grace.get("/review").await.says("ada").says("2 days").says("University of Turin").says("Academic staff").says("Address verified");
    let case = case_of(&application);
    grace.get(&case).await.says("first application").says("2a-iii").says("surveillance").says("value=\"2026-08-31\"");
    let page = grace.post(&format!("{case}/approve"), &[("until", "2026-08-31"), ("note", "Good luck!")]).await;
    assert_eq!((page.status, page.location()), (303, case.as_str()), "{}", page.text);

    grace.get(&case).await.says("Approved by grace").says("Revoke access");
    grace.get("/review").await.says("Nobody is waiting");
    grace.get("/review?view=decided").await.says("Approved").says("You");
    ada.get(&application).await.says("Good luck!").says("Download or try it");
    ada.get("/applications").await.says("Until 31 August 2026");
    ada.get("/demo/tiny-opt/apply").await.says("You have access to demo/tiny-opt");
    let mail = &portal.mails_to(&ada.email, "access_granted").await[0];
    assert!(mail.contains("31 August 2026") && mail.contains("The reviewer writes:\n\n> Good luck!\n"), "{mail}");

    portal.wait(Duration::days(200));
    ada.signs_in().await;
    ada.get("/applications").await.says("Expired").says("Apply again");
    ada.get("/demo/tiny-opt/apply").await.says("copied from").says("Negation in language models");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_declined_applicant_learns_why_and_applies_again_with_the_same_answers(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);

    let page = grace.post(&format!("{case}/decline"), &[("reason", ""), ("text", "Which data?")]).await;
    assert_eq!(page.status, 422);
    page.says("choose one of the reasons").says("Which data?");
    let page = grace.post(&format!("{case}/decline"), &[("reason", "other"), ("text", " ")]).await;
    assert_eq!(page.status, 422);
    page.says("say what stood in the way");
    let words = [("reason", "purpose_unclear"), ("text", "Which data?\nAnd <b>why</b>?")];
    assert_eq!(grace.post(&format!("{case}/decline"), &words).await.status, 303);

    ada.get(&application)
        .await
        .says("The purpose is not clear")
        .says("Which data?")
        .says("&#60;b&#62;why")
        .says("You may apply again from 16 March 2026");
    let mail = &portal.mails_to(&ada.email, "application_declined").await[0];
    assert!(mail.contains("The purpose is not clear") && mail.contains("Which data?"), "{mail}");

    ada.get("/demo/tiny-opt/apply").await.says("You may apply again from 16 March 2026");
    portal.wait(Duration::days(14));
    ada.signs_in().await;
    let form = ada.get("/demo/tiny-opt/apply").await;
    form.says("copied from").says("Negation in language models");
    assert!(!form.text.contains("checked> I am at least 18"), "clauses are agreed to anew");
    let second = applies_for(&ada, "/demo/tiny-opt").await;
    assert_ne!(application, second);
    let hedy = portal.reviewer("hedy").await;
    hedy.get("/review").await.says("1 earlier");
    hedy.get(&case_of(&second)).await.says("Declined");
    assert!(!hedy.get(&case_of(&application)).await.text.contains("1 earlier"), "of the two it was the first");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_second_of_two_reviewers_learns_who_decided_and_what(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, barbara) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let bob = portal.researcher("bob").await;
    let case = case_of(&applies_for(&ada, "/demo/tiny-opt").await);
    assert_eq!(grace.post(&format!("{case}/decline"), &[("reason", "purpose_unclear"), ("text", "Which data?")]).await.status, 303);
    let page = barbara.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await;
    assert_eq!(page.status, 409);
    page.says("Grace has declined (The purpose is not clear) this application on 2 March 2026, 09:00 UTC; nothing was changed.");

    let case = case_of(&applies_for(&bob, "/demo/tiny-opt").await);
    assert_eq!(barbara.post(&format!("{case}/approve"), &[("until", "2026-06-01"), ("note", "A\u{0}B")]).await.status, 303);
    let page = grace.post(&format!("{case}/decline"), &[("reason", "duplicate"), ("text", "")]).await;
    assert_eq!(page.status, 409);
    page.says("Barbara has approved this application on 2 March 2026");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn applying_and_withdrawing_over_and_over_does_not_flood_the_reviewers(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, bob) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.researcher("bob").await);
    for _ in 0..6 {
        let application = applies_for(&ada, "/demo/tiny-opt").await;
        assert_eq!(ada.post(&format!("{application}/withdraw"), &[]).await.status, 303);
    }
    let fields = answers(&ada, "/demo/tiny-opt").await;
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let page = ada.post("/demo/tiny-opt/apply", &fields).await;
    assert_eq!(page.status, 429);
    page.says("Not sent yet").says("send them again in 4 hours");
    assert!(page.header("retry-after").parse::<u32>().unwrap() > 3 * 3_600);
    assert_eq!(portal.mails_to(&grace.email, "application_to_review").await.len(), 6);
    ada.get("/demo/tiny-opt/apply").await.says("This is your draft").says("Negation in language models");
    applies_for(&bob, "/demo/tiny-opt").await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_form_with_faults_comes_back_filled_in_and_is_kept_as_a_draft(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let ada = portal.researcher("ada").await;
    let mut fields = answers(&ada, "/demo/tiny-opt").await;
    fields.retain(|(name, _)| name != "country" && name != "agree_adult");
    fields.iter_mut().find(|(name, _)| name == "months").unwrap().1 = "twelve & a half \"<".into();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();

    let page = ada.post("/demo/tiny-opt/apply", &fields).await;
    assert_eq!(page.status, 422);
    page.says("3 answers need another look")
        .says("enter a whole number from 1 to 12")
        .says("choose one")
        .says("you have to agree to this")
        .says("</a>: Enter a whole number from 1 to 12");
    page.says("twelve &#38; a half &#34;&#60;").says("The university&#39;s cluster");
    ada.get("/demo/tiny-opt/apply").await.says("This is your draft").says("twelve &#38; a half");
    ada.get("/applications").await.says("Draft").says("Your turn");
    assert!(portal.mails_to(&ada.email, "application_received").await.is_empty());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_draft_keeps_anything_and_nobody_else_sees_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let page = ada.post("/demo/tiny-opt/apply/draft", &[("title", "half a thought"), ("months", "99"), ("agree_adult", "on")]).await;
    assert_eq!((page.status, page.location()), (303, "/demo/tiny-opt/apply"));
    ada.get("/demo/tiny-opt/apply").await.says("half a thought").says("value=\"99\"");

    let application = application_of(&ada).await;
    ada.get(&application).await.says("Finish it").says("Discard the draft");
    grace.get("/review").await.says("Nobody is waiting");
    assert_eq!(grace.get(&case_of(&application)).await.status, 404);
    assert_eq!(grace.get(&application).await.status, 404);
    assert_eq!(grace.post(&format!("{}/approve", case_of(&application)), &[("until", "2026-06-01")]).await.status, 404);

    assert_eq!(ada.post(&format!("{application}/withdraw"), &[]).await.status, 303);
    ada.get(&application).await.says("Withdrawn").says("half a thought");
    assert_eq!(grace.get(&case_of(&application)).await.status, 404, "what was never sent is not shown even now");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_withdrawn_application_is_not_decided_on(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, eve) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.researcher("eve").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    assert_eq!(eve.get(&application).await.status, 404);
    assert_eq!(eve.post(&format!("{application}/withdraw"), &[]).await.status, 404);
    assert_eq!(eve.get(&case_of(&application)).await.status, 404, "the desk does not exist for researchers");
    assert_eq!(eve.post(&format!("{}/approve", case_of(&application)), &[("until", "2026-06-01")]).await.status, 404);

    assert_eq!(ada.post(&format!("{application}/withdraw"), &[]).await.status, 303);
    let page = grace.post(&format!("{}/approve", case_of(&application)), &[("until", "2026-06-01")]).await;
    assert_eq!(page.status, 409);
    page.says("withdrawn by the applicant");
    assert_eq!(ada.post(&format!("{application}/withdraw"), &[]).await.status, 409);
    applies_for(&ada, "/demo/tiny-opt").await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn nobody_decides_on_their_own_application(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let application = applies_for(&grace, "/demo/tiny-opt").await;
    let case = case_of(&application);
    assert!(portal.mails_to(&grace.email, "application_to_review").await.is_empty());
    grace.get("/review").await.says("Your own");
    let page = grace.get(&case).await;
    assert!(!page.text.contains("/approve\""), "no form is offered");
    let page = grace.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await;
    assert_eq!(page.status, 403);
    page.says("another reviewer will decide");
    assert_eq!(barbara.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await.status, 303);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_revoked_grant_is_told_with_its_reason_and_can_be_followed_by_another(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let case = case_of(&applies_for(&ada, "/demo/tiny-opt").await);
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await.status, 303);
    let grant = hidden(&grace.get(&case).await.text, "grant");

    let page = grace.post(&format!("{case}/revoke"), &[("grant", &grant), ("reason", "  ")]).await;
    assert_eq!(page.status, 422);
    page.says("say why");
    let fields = [("grant", grant.as_str()), ("reason", "The weights were passed on.")];
    assert_eq!(grace.post(&format!("{case}/revoke"), &fields).await.status, 303);
    assert_eq!(grace.post(&format!("{case}/revoke"), &fields).await.status, 409, "once is enough");
    ada.get("/applications").await.says("Revoked").says("The weights were passed on.");
    assert_eq!(portal.mails_to(&ada.email, "access_revoked").await.len(), 1);

    let second = case_of(&applies_for(&ada, "/demo/tiny-opt").await);
    assert_eq!(grace.post(&format!("{second}/approve"), &[("until", "2026-06-01")]).await.status, 303);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_end_date_that_cannot_be_is_told_beside_its_field(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let case = case_of(&applies_for(&ada, "/demo/tiny-opt").await);
    for (until, told) in [
        ("", "enter a day, such as"),
        ("2026-02-30", "enter a day, such as"),
        ("2026-03-01", "choose a day in the future"),
        ("2027-06-01", "12 months at most"),
    ] {
        let page = grace.post(&format!("{case}/approve"), &[("until", until), ("note", "kept note")]).await;
        assert_eq!(page.status, 422, "{until}");
        page.says(told).says("kept note");
    }
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-03-02")]).await.status, 303, "today counts until midnight");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_open_model_needs_no_application(db: PgPool) {
    let portal = TestPortal::start(db).await;
    open_model(&portal, "open-opt").await;
    let ada = portal.researcher("ada").await;
    ada.get("/demo/open-opt/apply").await.says("no application is needed");
    assert_eq!(ada.post("/demo/open-opt/apply/draft", &[("title", "x")]).await.status, 409);
    assert_eq!(ada.get("/demo/missing/apply").await.status, 404);
    assert_eq!(portal.visitor().get("/demo/open-opt/apply").await.location(), "/sign-in?then=%2Fdemo%2Fopen%2Dopt%2Fapply");
}

fn hidden(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("no field {name}: {text}"));
    rest.split('"').next().unwrap().to_owned()
}
