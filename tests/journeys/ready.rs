//! `/readyz`: what a load balancer and a person on call are told about database, store and engine.

use reqwest::Method;
use server::catalog;
use sqlx::PgPool;
use tests::{Page, TestPortal};

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn every_part_is_asked_and_named(db: PgPool) {
    let portal = TestPortal::start(db).await;
    assert_eq!(asks(&portal).await, (200, "ready ok ok ok".to_owned()));

    let staging = portal.portal.config.data_dir.join("objects/staging");
    std::fs::rename(&staging, staging.with_extension("gone")).unwrap();
    assert_eq!(asks(&portal).await, (503, "not ready ok cannot be written ok".to_owned()));
    std::fs::rename(staging.with_extension("gone"), &staging).unwrap();
    assert_eq!(asks(&portal).await, (200, "ready ok ok ok".to_owned()));

    portal.portal.db.close().await;
    assert_eq!(asks(&portal).await, (503, "not ready does not answer ok ok".to_owned()));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_model_whose_thread_died_is_told_of_and_answers_the_next_who_asks(db: PgPool) {
    let portal = TestPortal::start(db).await;
    catalog::publish_demo_if_empty(&portal.portal).await.unwrap();
    let ada = portal.researcher("ada").await;
    let ada = ada.with_token(&ada.makes_token(&["api"]).await);
    let body = serde_json::json!({ "model": "sluice/opt-verse-6m", "prompt": "The water", "max_tokens": 2 });
    let completes = async || Page::of(ada.request(Method::POST, "/v1/completions").json(&body).send().await.unwrap()).await;
    assert_eq!(completes().await.status, 200);

    let loaded = portal.portal.engine.loaded().remove(0).key;
    let engine = portal.portal.engine.get_or_load(&loaded, || unreachable!("it is loaded")).unwrap();
    engine.shutdown();
    let (status, told) = asks(&portal).await;
    assert!(status == 200 && told.contains("a model's thread has died"), "{status} {told}");
    assert_eq!(completes().await.status, 200, "it is loaded again");
    assert_eq!(asks(&portal).await, (200, "ready ok ok ok".to_owned()));
}

/// The status, and the words for the whole, the database, the store and the engine.
async fn asks(portal: &TestPortal) -> (u16, String) {
    let answer = portal.visitor().get("/readyz").await;
    let told: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    let words = ["status", "database", "store", "engine"].map(|part| told[part].as_str().unwrap().to_owned());
    (answer.status, words.join(" "))
}
