//! A metered trial: an applicant uses the playground while the application waits, if the model's rules allow it.

use serde_json::json;
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};

use super::{account_of, offers_verse, refused};

/// A gated model whose rules let applicants try it, somebody whose application waits, and a reviewer.
async fn with_trial(db: PgPool, tokens: &str) -> (TestPortal, Person, Person, String) {
    let portal = TestPortal::start(db).await;
    let offer = offers_verse(&portal, "lab/gated-verse", Gate::Application).await;
    let (root, grace, ada) = (portal.admin("root").await, portal.reviewer("grace").await, portal.researcher("ada").await);
    let rules = [("answer_days", "7"), ("reapply_days", "14"), ("trial_tokens", tokens)];
    assert_eq!(root.post(&format!("/admin/models/{}/policy", offer.model), &rules).await.status, 303);
    ada.get("/playground").await.says("no model here that you may use yet");
    let application = crate::gated::applies_for(&ada, "/lab/gated-verse").await;
    (portal, ada, grace, application)
}

async fn tries(person: &Person, tokens: &str) -> Page {
    let fields = [("model", "lab/gated-verse"), ("text", "The sea was"), ("max_tokens", tokens), ("temperature", "0")];
    person.post("/playground", &fields).await
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_applicant_tries_the_model_with_as_many_tokens_as_its_rules_allow(db: PgPool) {
    let (portal, ada, grace, application) = with_trial(db, "30").await;
    ada.get("/lab/gated-verse").await.says("you may try it in the playground, with 30 tokens");
    ada.get("/playground").await.says("with 30 more tokens, your text included");
    // Not by a program, and not the weights.
    let program = ada.with_token(&ada.makes_token(&["api", "download"]).await);
    let (status, error) = refused(&program, &json!({ "model": "lab/gated-verse", "prompt": "The sea was", "max_tokens": 1 })).await;
    assert_eq!((status, &error["code"]), (403, &json!("application_pending")));
    assert_eq!(program.fetch("/lab/gated-verse/resolve/v1/model.safetensors").await.status, 403);

    // The text is four tokens.
    assert_eq!(tries(&ada, "10").await.status, 200);
    ada.get("/playground").await.says("with 16 more tokens");
    tries(&ada, "400").await.says("12 tokens added");
    let used = tries(&ada, "1").await;
    assert_eq!(used.status, 422);
    used.says("You have used the tokens that you may try it with until then");
    ada.get("/lab/gated-verse").await.says("is waiting for a reviewer");

    // Withdrawing and applying again brings no more, and a decision ends it.
    ada.post(&format!("{application}/withdraw"), &[]).await;
    assert_eq!(tries(&ada, "1").await.status, 422);
    let again = crate::gated::applies_for(&ada, "/lab/gated-verse").await;
    assert_eq!(tries(&ada, "1").await.status, 422);
    let case = again.replace("/applications/", "/review/");
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-08-31"), ("note", "")]).await.status, 303);
    assert_eq!(tries(&ada, "1").await.status, 200);
    drop(portal);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_trial_is_one_text_at_a_time_and_ends_with_the_decision(db: PgPool) {
    let (portal, ada, grace, application) = with_trial(db, "1000").await;
    let line = &portal.portal.limits.generations;
    let key = account_of(&portal, &ada).await.to_string();
    assert_eq!(tries(&ada, "1").await.status, 200);
    sqlx::query("update generation set finished_at = null, finish_reason = null").execute(&portal.portal.db).await.unwrap();
    let busy = tries(&ada, "1").await;
    assert_eq!(busy.status, 422);
    busy.says("one text at a time");
    sqlx::query("update generation set finished_at = started_at, finish_reason = 'stop'").execute(&portal.portal.db).await.unwrap();
    assert_eq!(line.taken(&key), 0);
    let case = application.replace("/applications/", "/review/");
    let declined = [("reason", "purpose_unclear"), ("text", "")];
    assert_eq!(grace.post(&format!("{case}/decline"), &declined).await.status, 303);
    let over = tries(&ada, "1").await;
    assert_eq!(over.status, 422);
    over.says("was declined");
}
