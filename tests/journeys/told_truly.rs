//! What an applicant is told is so: whose turn it is, what keeps them out, what a mail says of the days, and where a page opens.

use reqwest::Method;
use serde_json::json;
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

use crate::apply_and_review::case_of;
use crate::gated::{LICENCE, answers, applies_for, gated, relicense};
use crate::grants::{account_of, grant_of};

const MODEL: &str = "/demo/tiny-opt";

async fn sends(person: &Person, fields: &[(String, String)]) -> Page {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let page = person.post(&format!("{MODEL}/apply"), &fields).await;
    assert_eq!(page.status, 303, "{}", page.text);
    page
}

async fn does(person: &Person, path: &str, fields: &[(&str, &str)]) -> Page {
    let page = person.post(path, fields).await;
    assert_eq!(page.status, 303, "{path}: {}", page.text);
    page
}

async fn mail_to(portal: &TestPortal, person: &Person, kind: &str) -> String {
    portal.mails_to(&person.email, kind).await.first().unwrap_or_else(|| panic!("no {kind}")).clone()
}

/// The one control at which a page opens.
fn opens_at(page: &Page) -> String {
    assert_eq!(page.status, 422, "{}", page.text);
    let controls: Vec<&str> = page.text.split('<').filter(|tag| tag.contains(" autofocus")).collect();
    let [control] = controls[..] else { panic!("{controls:?} in {}", page.text) };
    assert!(control.contains("aria-invalid=\"true\""), "{control}");
    control.split("id=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_turn_is_counted_from_the_last_sending_and_every_mail_about_it_is_true(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let ada = portal.researcher("ada").await;
    let application = applies_for(&ada, MODEL).await;
    let case = case_of(&application);
    assert!(mail_to(&portal, &ada, "application_received").await.contains("An answer is promised by 9 March 2026."));
    portal.wait(Duration::days(20));
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    ada.signs_in().await;
    ada.get(&application).await.says("A reviewer&#39;s turn, for 20 days now.");

    let asked = [("text", "Where will the weights lie?"), ("field_title", "on"), ("field_storage_location", "on")];
    does(&grace, &format!("{case}/changes"), &asked).await;
    let mail = mail_to(&portal, &ada, "changes_requested").await;
    assert!(mail.contains("About:\n\n> Title\n> Where exactly\n\nSend it again by"), "{mail}");
    ada.get(&application).await.says("href=\"/demo/tiny-opt/apply#title\"").says("href=\"/demo/tiny-opt/apply#storage_location\"");
    let same = answers(&ada, MODEL).await;
    sends(&ada, &same).await;
    let mail = mail_to(&portal, &grace, "application_resubmitted").await;
    assert!(mail.contains("again without changes") && !mail.contains("are marked"), "{mail}");
    let program = ada.with_token(&ada.makes_token(&["apply"]).await);
    let of_now = "A reviewer&#39;s turn, for less than a minute now.";
    ada.get(&application).await.says(of_now);
    ada.get("/applications").await.says(of_now);
    ada.get("/applications.csv").await.says("for less than a minute now");
    for path in [format!("/api/v1{application}"), "/api/v1/applications".into()] {
        program.get(&path).await.says("turn, for less than a minute now");
    }

    does(&grace, &format!("{case}/changes"), &[("text", "And who may reach them?")]).await;
    let changed = same.into_iter().map(|(name, value)| if name == "title" { (name, "Negation and scale".into()) } else { (name, value) });
    sends(&ada, &changed.collect::<Vec<_>>()).await;
    assert!(mail_to(&portal, &grace, "application_resubmitted").await.contains("The changes are marked."));

    let no = [("reason", "purpose_unclear"), ("text", "The plan is missing.")];
    does(&grace, &format!("{case}/decline"), &no).await;
    let mail = mail_to(&portal, &ada, "application_declined").await;
    assert!(mail.contains("you can appeal until 21 April 2026") && mail.contains("You may apply again from 5 April 2026."), "{mail}");
    ada.get(MODEL).await.says("was declined. You may apply again from 5 April 2026.");
    portal.wait(Duration::days(3));
    does(&ada, &format!("{application}/appeal"), &[("text", "The plan is on page two.")]).await;
    ada.get(&application).await.says(of_now);
    does(&barbara, &format!("{case}/decline"), &no).await;
    let mail = mail_to(&portal, &ada, "application_declined").await;
    assert!(mail.contains("the appeal is decided. You may apply again from 8 April 2026.") && !mail.contains("you can appeal"), "{mail}");
    ada.get(&application).await.says("Your appeal was decided: your application stays declined.");
    portal.wait(Duration::days(14));
    ada.signs_in().await;
    let page = ada.get(MODEL).await;
    page.says("was declined.").says("Apply again");
    assert!(!page.text.contains("You may apply again from"), "{}", page.text);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_block_is_told_wherever_its_mail_leads_and_says_what_it_keeps_from(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, MODEL).await;
    does(&grace, &format!("{}/approve", case_of(&application)), &[("until", "2026-06-30")]).await;
    let grant = format!("/grants/{}", grant_of(&portal, &ada).await);
    does(&ada, &format!("{grant}/close"), &[("deleted", "on")]).await;
    ada.get(&grant).await.says("Apply again").says("Closed by you on 2 March 2026");
    ada.get("/applications").await.says("Apply again");

    let person = format!("/admin/people/{}", account_of(&portal, &ada).await);
    does(&grace, &format!("{person}/block"), &[("until", "2026-05-01"), ("reason", "sold a copy")]).await;
    let told = "You are blocked from every model until 1 May 2026";
    for path in ["/applications", application.as_str()] {
        let page = ada.get(path).await;
        page.says(told).says("sold a copy");
        assert!(!page.text.contains("Apply again"), "{}", page.text);
    }
    let page = ada.get(&grant).await;
    page.says("until 1 May 2026").says("See why");
    assert!(!page.text.contains("Apply again"), "{}", page.text);
    ada.get(MODEL).await.says(told);
    let refused = ada.get(&format!("{MODEL}/apply")).await;
    assert_eq!(refused.status, 403);
    refused.says(told);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_page_with_a_fault_opens_at_it_and_a_comment_at_what_was_written(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, MODEL).await;
    let case = case_of(&application);
    assert_eq!(opens_at(&ada.post(&format!("{application}/comment"), &[("text", " ")]).await), "comment");
    let page = does(&ada, &format!("{application}/comment"), &[("text", "One more thing.")]).await;
    assert_eq!(page.location(), format!("{application}#last-comment"));
    let page = ada.get(&application).await;
    page.says("id=\"last-comment\"").says("What you agreed to").says("Form with SHA-256").says("Yes, withdraw it");
    assert!(!page.text.contains(" autofocus"));

    does(&grace, &format!("{case}/decline"), &[("reason", "purpose_unclear"), ("text", "The plan is missing.")]).await;
    assert_eq!(opens_at(&ada.post(&format!("{application}/appeal"), &[("text", " ")]).await), "appeal");
    does(&ada, &format!("{application}/appeal"), &[("text", "It is on page two.")]).await;
    let barbara = portal.reviewer("barbara").await;
    does(&barbara, &format!("{case}/approve"), &[("until", "2026-04-30")]).await;
    ada.get(&application).await.says("Your appeal was decided: another reviewer has approved your application.");
    let grant = format!("/grants/{}", grant_of(&portal, &ada).await);
    let renew = format!("{grant}/renew");
    assert_eq!(opens_at(&ada.post(&renew, &[("summary", "Science."), ("months", "99")]).await), "summary");
    assert_eq!(opens_at(&ada.post(&renew, &[("summary", &"We measured it. ".repeat(4)), ("months", "99")]).await), "months");
    assert_eq!(opens_at(&ada.post(&format!("{grant}/close"), &[]).await), "deleted");
    let page = ada.post("/account/erase", &[("understood", "on"), ("password", "wrong")]).await;
    assert_eq!(opens_at(&page), "password");
    page.says("name=\"understood\" value=\"on\" checked");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whoever_waits_for_a_renewal_is_told_so_and_sees_what_they_wrote(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/tiny", Gate::Application, &[]).await;
    let ada = portal.researcher("ada").await;
    portal.grants(&offer, &ada.email, 30).await;
    let grant = format!("/grants/{}", grant_of(&portal, &ada).await);
    portal.wait(Duration::days(31));
    let grace = portal.reviewer("grace").await;
    ada.signs_in().await;
    ada.get("/lab/tiny").await.says("ended on 1 April 2026").says("Renew it");
    let fields = [("summary", "We measured how negation fares with size; size helps little."), ("months", "6")];
    does(&ada, &format!("{grant}/renew"), &fields).await;
    let page = ada.get("/lab/tiny").await;
    page.says("Your renewal is waiting for a reviewer.").says("See it");
    assert!(!page.text.contains("Renew it"), "{}", page.text);
    ada.get(&grant).await.says("What you wrote").says("size helps little");
    let waiting = grace.get("/review/renewals").await;
    let renewal = format!("/review/renewals/{}", waiting.text.split("/review/renewals/").nth(1).unwrap().split('"').next().unwrap());
    does(&grace, &format!("{renewal}/decline"), &[("text", "Not now.")]).await;
    let mail = mail_to(&portal, &ada, "renewal_declined").await;
    assert!(mail.contains("it ended on 1 April 2026") && !mail.contains("still ends"), "{mail}");
    ada.get("/lab/tiny").await.says("Renew it");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whoever_is_approved_under_older_terms_is_told_by_when_to_agree(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    let (ada, bob) = (portal.researcher("ada").await, portal.researcher("bob").await);
    let (grace, root) = (portal.reviewer("grace").await, portal.admin("root").await);
    let (one, other) = (applies_for(&ada, MODEL).await, applies_for(&bob, MODEL).await);
    does(&grace, &format!("{}/approve", case_of(&other)), &[("until", "2026-06-30")]).await;
    let plain = mail_to(&portal, &bob, "access_granted").await;
    assert!(!plain.contains("agree to the new version"), "{plain}");
    let sha256 = relicense(&portal, Some(model), &format!("{LICENCE} And more."), portal.portal.clock.now()).await;
    portal.wait(Duration::MINUTE);
    let announced = [("grace_days", "0"), ("licence_shown", sha256.as_str())];
    does(&root, &format!("/admin/models/{model}/licence-change"), &announced).await;
    let mail = mail_to(&portal, &bob, "licence_changed").await;
    assert!(mail.contains("agree to its clauses: your access is paused until you have.") && !mail.contains("goes on"), "{mail}");
    bob.get(&format!("/grants/{}", grant_of(&portal, &bob).await)).await.says("Paused until you agree to what has changed.");

    let changed = relicense(&portal, Some(model), &format!("{LICENCE} And yet more."), portal.portal.clock.now()).await;
    let announced = [("grace_days", "7"), ("licence_shown", changed.as_str())];
    portal.wait(Duration::MINUTE);
    does(&root, &format!("/admin/models/{model}/licence-change"), &announced).await;
    let (approve, until) = (format!("{}/approve", case_of(&one)), ("until", "2026-06-30"));
    grace
        .post(&approve, &[until, ("preview", "yes")])
        .await
        .says("Nothing has been decided yet")
        .says("agree to the new version by 9 March 2026");
    does(&grace, &approve, &[until]).await;
    ada.get(&one).await.says("Your application was approved.").says("agree by 9 March 2026").says("Read and agree");
    let mail = mail_to(&portal, &ada, "access_granted").await;
    assert!(mail.contains("agree to the new version by 9 March 2026"), "{mail}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whoever_signs_up_on_the_way_somewhere_arrives_there(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let ada = Person::new(&portal.base, "ada@university.edu");
    let there = "%2Fdemo%2Ftiny%2Dopt%2Fapply";
    ada.get("/sign-in?then=%2Fdemo%2Ftiny-opt%2Fapply").await.says(&format!("href=\"/sign-up?then={there}\""));
    let page = ada.get(&format!("/sign-up?then={there}")).await;
    page.says("name=\"then\" value=\"/demo/tiny-opt/apply\"").says(&format!("href=\"/sign-in?then={there}\""));
    let form = [("name", "Ada"), ("email", ada.email.as_str()), ("then", "/demo/tiny-opt/apply")];
    assert_eq!(ada.post("/sign-up", &form).await.status, 200);
    let mail = mail_to(&portal, &ada, "verify_address").await;
    let link = mail.lines().find(|line| line.contains("/verify?key=")).unwrap().trim();
    let (_, rest) = link.split_once("?key=").unwrap();
    let (key, then) = rest.split_once("&then=").unwrap_or_else(|| panic!("{mail}"));
    assert_eq!(then, there);
    ada.get(&format!("/verify?key={rest}")).await.says("name=\"then\" value=\"/demo/tiny-opt/apply\"");
    let page = ada.post("/verify", &[("key", key), ("password", Person::PASSWORD), ("then", "/demo/tiny-opt/apply")]).await;
    assert_eq!((page.status, page.location()), (303, "/demo/tiny-opt/apply"));

    // Elsewhere is nowhere.
    let form = [("name", "Bob"), ("email", "bob@university.edu"), ("then", "//evil.example")];
    assert_eq!(portal.visitor().post("/sign-up", &form).await.status, 200);
    let mail = portal.mails_to("bob@university.edu", "verify_address").await.remove(0);
    assert!(!mail.contains("then="), "{mail}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_program_is_told_the_field_it_sent(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    let (ada, root) = (portal.researcher("ada").await, portal.admin("root").await);
    let application = applies_for(&ada, MODEL).await;
    let program = ada.with_token(&ada.makes_token(&["apply"]).await);
    let posts = async |path: String, body: serde_json::Value| {
        let page = Page::of(program.request(Method::POST, &path).json(&body).send().await.unwrap()).await;
        assert_eq!(page.status, 422, "{}", page.text);
        page.json()["errors"].clone()
    };
    let faults = posts(format!("/api/v1{application}/comment"), json!({ "text": " " })).await;
    assert_eq!(faults, json!([{ "field": "text", "message": "write something first" }]));

    does(&ada, &format!("{application}/withdraw"), &[]).await;
    let base = crate::forms::base(model);
    does(&root, &format!("{base}/start"), &[("version", "0")]).await;
    let question = [("section", "project"), ("label", "Size of your group"), ("kind", "line"), ("chars_max", "20"), ("need", "optional")];
    crate::forms::done(&crate::forms::edits(&root, &base, "new/questions", &question).await);
    crate::forms::done(&crate::forms::edits(&root, &base, "publish", &[]).await);
    let faults = posts("/api/v1/models/demo/tiny-opt/application".into(), json!({ "answers": { "size_of_your_group": "3" } })).await;
    assert_eq!(faults[0]["field"], "form_shown", "{faults}");
}
