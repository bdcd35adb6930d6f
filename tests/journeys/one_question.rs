//! A download by token costs one question to the database; a refusal may cost more, and still names what is missing.

use reqwest::Method;
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{ObjectStore, Page, Person, Statements, TestPortal};
use time::Duration;

async fn asks(person: &Person, method: Method, path: &str) -> Page {
    Page::of(person.request(method, path).send().await.unwrap()).await
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_permission_and_a_signed_address_cost_one_question(db: PgPool) {
    let store = ObjectStore::start().await;
    let portal = TestPortal::start_with(db, &store.settings()).await;
    one_question(&portal, 302).await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_permission_and_the_bytes_of_a_folder_cost_one_question(db: PgPool) {
    one_question(&TestPortal::start(db).await, 200).await;
}

async fn one_question(portal: &TestPortal, given: u16) {
    let offer = portal.offers("lab/tiny", Gate::Application, &[("model.safetensors", &[7; 5_000]), ("README.md", b"# Tiny")]).await;
    let ada = portal.researcher("ada").await;
    portal.grants(&offer, &ada.email, 30).await;
    let terminal = ada.with_token(&ada.makes_token(&["download"]).await);
    let api = ada.with_token(&ada.makes_token(&["api"]).await);
    let bob = portal.researcher("bob").await;
    let bob = bob.with_token(&bob.makes_token(&["download"]).await);
    let path = offer.url("model.safetensors");
    // The first of a minute notes that the token was used, and the first of a day what its account has had.
    assert_eq!(asks(&terminal, Method::GET, &path).await.status, given);

    let statements = Statements::listen();
    for (method, status) in [(Method::GET, given), (Method::HEAD, 200), (Method::GET, given)] {
        let answer = asks(&terminal, method.clone(), &path).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let sent = statements.take();
        assert_eq!(sent.len(), 1, "{method}: {sent:?}");
    }

    // What is no plain yes is asked about again, so that it is told exactly.
    let refused = async |person: &Person, path: &str, code: &str, words: &str| {
        let answer = asks(person, Method::GET, path).await;
        assert_eq!(answer.header("x-error-code"), code, "{}", answer.text);
        assert!(answer.header("x-error-message").contains(words), "{words}: {}", answer.header("x-error-message"));
    };
    refused(&api, &path, "GatedRepo", "does not carry the scope 'download'").await;
    refused(&bob, &path, "GatedRepo", "needs an approved application").await;
    refused(&terminal, &offer.url("nothing.bin"), "EntryNotFound", "nothing.bin").await;
    refused(&terminal, &offer.url_at(&"0".repeat(40), "model.safetensors"), "RevisionNotFound", "Invalid rev id").await;
    refused(&terminal, "/lab/none/resolve/main/config.json", "RepoNotFound", "Repository not found").await;
    assert_eq!(asks(&terminal, Method::GET, &offer.url_at("main", "model.safetensors")).await.status, 307);
    let misspelt = asks(&terminal, Method::GET, &path.replace("/lab/", "/LAB/")).await;
    assert_eq!((misspelt.status, misspelt.location()), (307, path.as_str()));
    assert_eq!(asks(&terminal, Method::GET, &offer.url("README.md")).await.status, given, "what everybody may read");

    sqlx::query("update release set yanked_at = now(), yank_reason = 'corrupt'").execute(&portal.portal.db).await.unwrap();
    refused(&terminal, &path, "GatedRepo", "corrupt").await;
    sqlx::query("update release set yanked_at = null, yank_reason = null").execute(&portal.portal.db).await.unwrap();
    portal.wait(Duration::days(28));
    let warned = asks(&terminal, Method::GET, &path).await;
    assert!(warned.status == given && warned.header("x-hf-warning").contains("ends on"), "{}", warned.header("x-hf-warning"));
    portal.revokes(&offer).await;
    refused(&terminal, &path, "GatedRepo", "was revoked").await;
    portal.wait(Duration::days(3));
    refused(&terminal, &path, "", "Invalid credentials in Authorization header").await;
}
