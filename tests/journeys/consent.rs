//! A licence that changes in a way that matters: holders are asked, have some days, and agree clause by clause.

use server::catalog::Gate;
use server::ids::GrantId;
use sqlx::PgPool;
use tests::{Offer, Person, TestPortal};
use time::Duration;

use crate::gated::{LICENCE, applies_for, relicense};
use crate::grants::{events_of, grant_of};

const CHANGED: &str = "Non-commercial research licence, and no training of other models.";

/// Applies and is approved; returns the grant and a program.
async fn gets_access(portal: &TestPortal, reviewer: &Person, person: &Person) -> (GrantId, Person) {
    let case = applies_for(person, "/lab/tiny").await.replace("/applications/", "/review/");
    let approved = reviewer.post(&format!("{case}/approve"), &[("until", "2026-09-15"), ("note", "")]).await;
    assert_eq!(approved.status, 303, "{}", approved.text);
    (grant_of(portal, person).await, person.with_token(&person.makes_token(&["download"]).await))
}

async fn fetches(program: &Person, offer: &Offer) -> String {
    let answer = program.fetch(&offer.url("model.safetensors")).await;
    if answer.status == 200 { String::new() } else { answer.header("x-error-message").to_owned() }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn holders_agree_to_a_licence_that_changed_or_their_access_rests(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/tiny", Gate::Application, &[("model.safetensors", &[7; 5_000])]).await;
    relicense(&portal, Some(offer.model), LICENCE, portal.portal.clock.now()).await;
    let (root, grace) = (portal.admin("root").await, portal.reviewer("grace").await);
    let (ada, bob, cora) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.researcher("cora").await);
    let (of_ada, ada_program) = gets_access(&portal, &grace, &ada).await;
    let (of_bob, bob_program) = gets_access(&portal, &grace, &bob).await;
    portal.wait(Duration::DAY);
    relicense(&portal, Some(offer.model), CHANGED, portal.portal.clock.now()).await;
    // Agreed to the new text when she applied, before anybody said that it matters.
    let (of_cora, cora_program) = gets_access(&portal, &grace, &cora).await;

    let page = format!("/admin/models/{}", offer.model);
    root.get(&page).await.says("Ask holders to agree");
    let refused = root.post(&format!("{page}/licence-change"), &[("grace_days", "a month")]).await;
    assert_eq!(refused.status, 422);
    refused.says("is a whole number from 0 to 180");
    portal.wait(Duration::MINUTE);
    assert_eq!(root.post(&format!("{page}/licence-change"), &[("grace_days", "30")]).await.status, 303);
    assert_eq!(root.post(&format!("{page}/licence-change"), &[("grace_days", "30")]).await.status, 409);
    root.get(&page).await.says("Holders are asked since 3 March 2026");
    for (person, grant, mails) in [(&ada, of_ada, 1), (&bob, of_bob, 1), (&cora, of_cora, 0)] {
        let sent = portal.mails_to(&person.email, "licence_changed").await;
        assert_eq!(sent.len(), mails, "{}", person.email);
        assert!(sent.iter().all(|mail| mail.contains(&format!("/grants/{grant}/consent"))), "{sent:?}");
    }

    // In the days of grace: everything goes on, and ada agrees.
    for program in [&ada_program, &bob_program, &cora_program] {
        assert_eq!(fetches(program, &offer).await, "");
    }
    ada.get(&format!("/grants/{of_ada}")).await.says("The licence of lab/tiny has changed").says("Read and agree");
    let consent = format!("/grants/{of_ada}/consent");
    let shown = ada.get(&consent).await;
    shown.says("no training of other models").says("goes on until 2 April 2026").says("non-commercial research only");
    assert!(!shown.text.contains("at least 18"), "the portal's own terms are not asked again");
    assert_eq!(bob.get(&consent).await.status, 404);
    let boxes: Vec<String> =
        shown.text.split("name=\"agree_").skip(1).map(|part| format!("agree_{}", part.split('"').next().unwrap())).collect();
    let (_, rest) = shown.text.split_once("name=\"licence_shown\" value=\"").unwrap();
    let licence = rest.split('"').next().unwrap().to_owned();
    let mut fields: Vec<(&str, &str)> = boxes.iter().map(|name| (name.as_str(), "on")).collect();
    fields.push(("licence_shown", &licence));
    let refused = ada.post(&consent, &fields[1..]).await;
    assert_eq!(refused.status, 422);
    refused.says("has to be agreed to");
    let other = "0".repeat(64);
    let mut stale = fields.clone();
    stale.last_mut().unwrap().1 = &other;
    let refused = ada.post(&consent, &stale).await;
    assert_eq!(refused.status, 422);
    refused.says("read the new text");
    assert!(!refused.text.contains("checked"), "ticks under another text are made again");
    assert_eq!(ada.post(&consent, &fields).await.status, 303);
    assert_eq!(ada.post(&consent, &fields).await.status, 409);
    ada.get(&consent).await.says("Nothing has to be agreed to");
    let kept: Vec<(String, String)> = sqlx::query_as("select clause, licence_sha256 from consent where grant_id = $1")
        .bind(of_ada.uuid())
        .fetch_all(&portal.portal.db)
        .await
        .unwrap();
    assert_eq!(kept.len(), boxes.len());
    assert!(kept.iter().all(|(_, sha256)| *sha256 == licence));
    assert_eq!(events_of(&portal, &of_ada.to_string()).await, ["grant.made", "grant.consent_given"]);

    // After them bob rests, until he agrees; the others never notice.
    portal.wait(Duration::days(30) - Duration::MINUTE);
    bob.signs_in().await;
    let bob_program = bob.with_token(&bob.makes_token(&["download", "api"]).await);
    let again = async |person: &Person| {
        person.signs_in().await;
        person.with_token(&person.makes_token(&["download"]).await)
    };
    let (ada_program, cora_program) = (again(&ada).await, again(&cora).await);
    assert_eq!(fetches(&bob_program, &offer).await, "");
    portal.wait(Duration::MINUTE);
    for program in [&ada_program, &cora_program] {
        assert_eq!(fetches(program, &offer).await, "");
    }
    let resting = fetches(&bob_program, &offer).await;
    assert!(
        resting.contains("has changed; your access goes on when you agree") && resting.contains(&format!("/grants/{of_bob}/consent")),
        "{resting}"
    );
    let body = serde_json::json!({ "model": "lab/tiny", "prompt": "a", "max_tokens": 1 });
    let v1 = tests::Page::of(bob_program.request(reqwest::Method::POST, "/v1/completions").json(&body).send().await.unwrap()).await;
    assert_eq!(v1.status, 403);
    v1.says("consent_needed");
    bob.get("/lab/tiny").await.says("Read and agree");
    let consent = format!("/grants/{of_bob}/consent");
    bob.get(&consent).await.says("Your access rests since 2 April 2026");
    assert_eq!(bob.post(&consent, &fields).await.status, 303);
    assert_eq!(fetches(&bob_program, &offer).await, "");
}
