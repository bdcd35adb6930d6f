//! Nobody gets around a decision: not by closing what is looked into, by another door, by another order, or by a mail that comes late.

use reqwest::Method;
use serde_json::json;
use server::catalog::Gate;
use server::mail;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

use crate::gated::{LICENCE, applies_for, relicense};
use crate::grants::{account_of, events_of, grant_of};

const RULES: [(&str, &str); 4] = [("answer_days", "7"), ("reapply_days", "0"), ("trial_tokens", "0"), ("revoke_needs_two", "on")];

/// A gated model where revoking takes two, and the reviewers.
pub async fn desk(db: PgPool) -> (TestPortal, String, Person, Person, Person) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/tiny", Gate::Application, &[("model.safetensors", &[7; 5_000])]).await;
    relicense(&portal, Some(offer.model), LICENCE, portal.portal.clock.now()).await;
    let (grace, barbara, root) = (portal.reviewer("grace").await, portal.reviewer("barbara").await, portal.admin("root").await);
    let rules = format!("/admin/models/{}/policy", offer.model);
    assert_eq!(root.post(&rules, &RULES).await.status, 303);
    (portal, rules, grace, barbara, root)
}

pub async fn applies(person: &Person) -> String {
    applies_for(person, "/lab/tiny").await.replace("/applications/", "/review/")
}

pub async fn approves(reviewer: &Person, case: &str) -> Page {
    reviewer.post(&format!("{case}/approve"), &[("until", "2026-06-30"), ("note", "")]).await
}

pub async fn declines(reviewer: &Person, case: &str) -> Page {
    reviewer.post(&format!("{case}/decline"), &[("reason", "purpose_unclear"), ("text", "The plan is missing.")]).await
}

/// The kinds of the mails that have left for somebody, in the order in which they left.
async fn left_for(portal: &TestPortal, person: &Person) -> Vec<String> {
    while mail::send_next(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock).await.unwrap() {
        portal.wait(Duration::milliseconds(1));
    }
    sqlx::query_scalar("select kind from mail where recipient = $1 and sent_at is not null order by sent_at, id")
        .bind(&person.email)
        .fetch_all(&portal.portal.db)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_reviewers_look_into_is_not_closed_under_their_hands(db: PgPool) {
    let (portal, rules, grace, barbara, root) = desk(db).await;
    let ada = portal.researcher("ada").await;
    assert_eq!(approves(&grace, &applies(&ada).await).await.status, 303);
    let grant = grant_of(&portal, &ada).await;
    let (page, close) = (format!("/admin/grants/{grant}"), format!("/grants/{grant}/close"));

    assert_eq!(grace.post(&format!("{page}/suspend"), &[("reason", "an odd address")]).await.status, 303);
    let refused = ada.post(&close, &[("deleted", "on")]).await;
    assert_eq!(refused.status, 409);
    refused.says("it can be closed once they have answered");
    assert_eq!(grace.post(&format!("{page}/reinstate"), &[]).await.status, 303);

    // Proposed by one under the rule that it takes two: so it stays, whatever becomes of the rule.
    assert_eq!(grace.post(&format!("{page}/revoke"), &[("reason", "passed on")]).await.status, 303);
    assert_eq!(ada.post(&close, &[("deleted", "on")]).await.status, 409);
    assert_eq!(root.post(&rules, &RULES[..3]).await.status, 303);
    assert_eq!(grace.post(&format!("{page}/revoke"), &[("reason", "passed on")]).await.status, 409);
    assert_eq!(grace.post(&format!("{page}/confirm"), &[]).await.status, 403);
    assert_eq!(barbara.post(&format!("{page}/confirm"), &[]).await.status, 303);
    let story = ["made", "suspended", "reinstated", "revocation_proposed", "revoked"].map(|kind| format!("grant.{kind}"));
    assert_eq!(events_of(&portal, &grant.to_string()).await, story);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_admin_who_lifts_the_rule_of_two_does_not_revoke_alone(db: PgPool) {
    let (portal, rules, grace, barbara, root) = desk(db).await;
    let ada = portal.researcher("ada").await;
    assert_eq!(approves(&grace, &applies(&ada).await).await.status, 303);
    let grant = grant_of(&portal, &ada).await;
    let (page, model) = (format!("/admin/grants/{grant}"), rules.trim_end_matches("/policy"));

    assert_eq!(root.post(&rules, &RULES[..3]).await.status, 303);
    root.get(model).await.says("Revoking takes two people all the same until 9 March 2026");
    root.get(&page).await.says("Propose to revoke");
    // Another change meanwhile does not shorten it.
    assert_eq!(root.post(&rules, &[("answer_days", "9"), RULES[1], RULES[2]]).await.status, 303);
    portal.wait(Duration::days(7) - Duration::minutes(1));
    assert_eq!(root.post(&format!("{page}/revoke"), &[("reason", "passed on")]).await.status, 303);
    assert_eq!(root.post(&format!("{page}/confirm"), &[]).await.status, 403);
    assert_eq!(barbara.post(&format!("{page}/reject"), &[]).await.status, 303);

    // Set again and lifted again, it is seven days again.
    assert_eq!(root.post(&rules, &RULES).await.status, 303);
    assert!(!root.get(model).await.text.contains("all the same until"), "it is the rule");
    assert_eq!(root.post(&rules, &RULES[..3]).await.status, 303);
    portal.wait(Duration::days(7) - Duration::minutes(1));
    root.get(&page).await.says("Propose to revoke");
    portal.wait(Duration::minutes(1));
    assert!(!root.get(model).await.text.contains("all the same until"));
    assert_eq!(root.post(&format!("{page}/revoke"), &[("reason", "passed on")]).await.status, 303);
    let story = ["made", "revocation_proposed", "revocation_rejected", "revoked"].map(|kind| format!("grant.{kind}"));
    assert_eq!(events_of(&portal, &grant.to_string()).await, story);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_gift_is_no_way_around_an_application_or_a_block(db: PgPool) {
    let (portal, _, grace, barbara, _) = desk(db).await;
    let ada = portal.researcher("ada").await;
    let case = applies(&ada).await;
    assert_eq!(declines(&grace, &case).await.status, 303);
    let application = case.replace("/review/", "/applications/");
    assert_eq!(ada.post(&format!("{application}/appeal"), &[("text", "The plan is on page two.")]).await.status, 303);

    let program = grace.with_token(&grace.makes_token(&["review"]).await);
    let gives = async || {
        let body = json!({ "user": "ada@university.edu" });
        let sent = program.request(Method::POST, "/api/models/lab/tiny/user-access-request/grant").json(&body).send().await.unwrap();
        Page::of(sent).await
    };
    let refused = gives().await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    refused.says("has an application for lab/tiny that waits");

    // Blocked: nobody gives, and everybody sees why.
    let person = account_of(&portal, &ada).await;
    let block = [("until", "2026-05-01"), ("reason", "sold a copy")];
    assert_eq!(barbara.post(&format!("/admin/people/{person}/block"), &block).await.status, 303);
    barbara.get("/review").await.says(">Blocked<");
    barbara.get(&case).await.says("is blocked from this model until 1 May 2026").says("sold a copy");
    ada.get(&application).await.says("You are blocked from every model until 1 May 2026.").says("sold a copy");
    let refused = approves(&barbara, &case).await;
    assert_eq!(refused.status, 409);
    refused.says("lift the block first");
    assert_eq!(ada.post(&format!("{application}/withdraw"), &[]).await.status, 303);
    let refused = gives().await;
    assert_eq!(refused.status, 409);
    refused.says("lift the block first");
    assert!(portal.mails_to(&ada.email, "access_granted").await.is_empty());

    let root = account_of(&portal, &portal.admin("ruth").await).await;
    let refused = grace.post(&format!("/admin/people/{root}/block"), &block).await;
    assert_eq!(refused.status, 409);
    refused.says("change the role first");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whose_access_is_stopped_can_say_something_to_that(db: PgPool) {
    let (portal, _, grace, barbara, _) = desk(db).await;
    let ada = portal.researcher("ada").await;
    let case = applies(&ada).await;
    assert_eq!(approves(&grace, &case).await.status, 303);
    let (grant, application) = (grant_of(&portal, &ada).await, case.replace("/review/", "/applications/"));
    let writes = async || ada.post(&format!("{application}/comment"), &[("text", "That was my student's laptop.")]).await.status;
    assert_eq!(writes().await, 409, "it is decided, and all is well");
    assert_eq!(barbara.post(&format!("/admin/grants/{grant}/suspend"), &[("reason", "an odd address")]).await.status, 303);
    ada.get(&format!("/grants/{grant}")).await.says(&format!("{application}#thread-title")).says("Write to the reviewers");
    ada.get(&application).await.says("Write to the reviewers");
    assert_eq!(writes().await, 303);
    let told = async |person: &Person| portal.mails_to(&person.email, "comment_written").await.len();
    assert_eq!((told(&barbara).await, told(&grace).await), (1, 0), "who stopped it hears of it");
    let answer = [("lane", "shared"), ("text", "Then all is well.")];
    assert_eq!(grace.post(&format!("{case}/comment"), &answer).await.status, 303);
    ada.get(&application).await.says("Then all is well.");
    assert_eq!(barbara.post(&format!("/admin/grants/{grant}/reinstate"), &[]).await.status, 303);
    assert_eq!(writes().await, 409);
    assert!(!ada.get(&application).await.text.contains("Write to the reviewers"));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_is_blocked_does_not_appeal(db: PgPool) {
    let (portal, _, grace, barbara, _) = desk(db).await;
    let ada = portal.researcher("ada").await;
    let case = applies(&ada).await;
    assert_eq!(declines(&grace, &case).await.status, 303);
    let person = account_of(&portal, &ada).await;
    let block = [("until", "2026-05-01"), ("reason", "threats")];
    assert_eq!(barbara.post(&format!("/admin/people/{person}/block"), &block).await.status, 303);
    let application = case.replace("/review/", "/applications/");
    assert!(!ada.get(&application).await.text.contains("/appeal\""), "it is not offered");
    let refused = ada.post(&format!("{application}/appeal"), &[("text", "Please.")]).await;
    assert_eq!(refused.status, 403);
    refused.says("You are blocked from every model");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn mails_about_a_decision_come_before_those_about_what_followed(db: PgPool) {
    let (portal, _, grace, barbara, _) = desk(db).await;
    let (ada, bob) = (portal.researcher("ada").await, portal.researcher("bob").await);
    // Declined, appealed and approved, and suspended at once: all within the ten minutes in which a decision can be taken back.
    let case = applies(&ada).await;
    assert_eq!(declines(&grace, &case).await.status, 303);
    let appeal = format!("{}/appeal", case.replace("/review/", "/applications/"));
    assert_eq!(ada.post(&appeal, &[("text", "The plan is on page two.")]).await.status, 303);
    assert_eq!(approves(&barbara, &case).await.status, 303);
    let grant = grant_of(&portal, &ada).await;
    assert_eq!(grace.post(&format!("/admin/grants/{grant}/suspend"), &[("reason", "an odd address")]).await.status, 303);
    // Approved, and blocked at once.
    assert_eq!(approves(&grace, &applies(&bob).await).await.status, 303);
    let block = [("until", "2026-05-01"), ("reason", "threats")];
    let person = account_of(&portal, &bob).await;
    assert_eq!(barbara.post(&format!("/admin/people/{person}/block"), &block).await.status, 303);

    let told = async |person: &Person, kinds: &[&str]| {
        let left = left_for(&portal, person).await;
        left.into_iter().filter(|kind| kinds.contains(&kind.as_str())).collect::<Vec<_>>()
    };
    let story = ["application_declined", "access_granted", "access_suspended"];
    assert_eq!(told(&ada, &story).await, story, "in this order, now");
    let story = ["access_granted", "blocked"];
    assert_eq!(told(&bob, &story).await, story);
    portal.wait(Duration::HOUR);
    assert_eq!(told(&bob, &story).await, story, "and nothing comes behind");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_decision_is_not_taken_back_under_a_new_application(db: PgPool) {
    let (portal, _, grace, _, _) = desk(db).await;
    let ada = portal.researcher("ada").await;
    let case = applies(&ada).await;
    assert_eq!(declines(&grace, &case).await.status, 303);
    applies(&ada).await;
    let refused = grace.post(&format!("{case}/undo"), &[]).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    refused.says("has begun another application");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_version_that_cannot_be_read_is_not_no_version(db: PgPool) {
    let (portal, _, grace, _, _) = desk(db).await;
    let case = applies(&portal.researcher("ada").await).await;
    for version in ["abc", "9e9", "-1"] {
        let fields = [("until", "2026-06-30"), ("note", ""), ("version", version)];
        assert_eq!(grace.post(&format!("{case}/approve"), &fields).await.status, 409, "{version}");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_writes_a_comment_a_second_is_asked_to_wait(db: PgPool) {
    let (portal, _, _, _, _) = desk(db).await;
    let ada = portal.researcher("ada").await;
    let application = applies_for(&ada, "/lab/tiny").await;
    let mut statuses = Vec::new();
    for n in 0..25 {
        statuses.push(ada.post(&format!("{application}/comment"), &[("text", &format!("And another thing: {n}."))]).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 20);
    assert_eq!(statuses.last(), Some(&429));
}
