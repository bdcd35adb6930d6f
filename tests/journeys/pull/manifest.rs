//! The manifest alone says the BLAKE3 of every file and chunk. It counts only as it was signed: on its way, and in the folder.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Puller, TestPortal, Trouble, Weather, Weights};

/// A small release; gives its revision and its manifest, which is one page.
async fn small(portal: &TestPortal) -> (String, Value) {
    let revision = portal.publishes("acme/small", Gate::Open, &Weights::of("preln-fp16-sharded")).await.revision;
    let manifest = portal.visitor().fetch(&format!("/acme/small/proof/{revision}/manifest.json")).await.json();
    assert_eq!(manifest["next"], Value::Null);
    (revision, manifest)
}

/// What somebody may make of a manifest, who leaves everything that the signatures list as it is.
fn forgeries(manifest: &Value) -> Vec<(&'static str, Value)> {
    let other = "0123456789abcdef".repeat(4);
    let with = |place: &str, value: Value| {
        let mut forged = manifest.clone();
        *forged.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = value;
        forged
    };
    let mut turned = manifest.clone();
    turned["files"].as_array_mut().unwrap().reverse();
    let mut more = manifest.clone();
    more["files"][0]["md5"] = json!("d41d8cd98f00b204e9800998ecf8427e");
    vec![
        ("the BLAKE3 of a file", with("/files/0/blake3", json!(other))),
        ("the BLAKE3 of a chunk", with("/files/1/chunks/0/blake3", json!(other))),
        ("what a file is", with("/files/0/kind", json!("something"))),
        ("the model's name", with("/model", json!("acme/smalm"))),
        ("the order of the files", turned),
        ("a digest more", more),
    ]
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_manifest_that_is_not_the_signed_one_is_refused_before_anything_is_fetched(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (_, manifest) = small(&portal).await;
    for (what, forged) in forgeries(&manifest) {
        let page = Arc::new(forged.to_string().into_bytes());
        let between = Weather::before(&portal.base, move |asked| {
            asked.target.contains("/manifest.json").then(|| Trouble::Answer(200, "application/json", page.clone()))
        })
        .await;
        let ada = Puller::new(&between.base);
        let refused = ada.pulls("acme/small", &[]).await;
        assert!(refused.status == 3 && refused.said.contains("manifest.json"), "{what}: {refused:?}");
        assert!(!ada.folder().exists(), "{what}");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_manifest_is_kept_with_the_files_and_verified_with_them(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (revision, manifest) = small(&portal).await;
    let ada = Puller::new(&portal.base);
    ada.pulls("ACME/small", &[]).await.well();
    let at = ada.folder().join(".sluice/manifest.json");
    assert_eq!(serde_json::from_slice::<Value>(&fs::read(&at).unwrap()).unwrap(), manifest);
    ada.verifies().await.well();
    for (what, forged) in forgeries(&manifest) {
        fs::write(&at, forged.to_string()).unwrap();
        let refused = ada.verifies().await;
        assert!(refused.status == 3 && refused.said.contains("manifest.json"), "{what}: {refused:?}");
    }
    fs::write(&at, format!("{manifest} ")).unwrap();
    ada.verifies().await.with(3, "manifest.json");
    // Pulled before manifests were kept: what the signatures list is proven as it was then.
    fs::remove_file(&at).unwrap();
    ada.verifies().await.well();
    // What the folder says of itself has to be what was signed, too; the name is the one that the publisher gave.
    let note = ada.folder().join(".sluice/release.json");
    let said: Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
    assert_eq!((&said["model"], &said["revision"]), (&json!("acme/small"), &json!(revision)));
    for (field, value) in [("model", json!("acme/other")), ("revision", json!("0".repeat(40))), ("more", json!(1))] {
        let mut forged = said.clone();
        forged[field] = value;
        fs::write(&note, forged.to_string()).unwrap();
        let refused = ada.verifies().await;
        assert!(matches!(refused.status, 1 | 3), "{field}: {refused:?}");
    }
    ada.pulls("acme/small", &[]).await.well();
    ada.verifies().await.well();
    assert_eq!(serde_json::from_slice::<Value>(&fs::read(&at).unwrap()).unwrap(), manifest);
}
