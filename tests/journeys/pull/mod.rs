//! `sluice pull` and `sluice verify`: the real binary against the real server, in good weather and in bad.

mod access;
mod bucket;
mod clock;
mod hostile;
mod keys;
mod killed;
mod large;
mod manifest;
mod mirrors;
mod place;
mod quota;
mod verify;
mod weather;

pub(crate) use verify::soak;

use std::collections::BTreeMap;

use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Puller, TestPortal, Weights, noise};

/// A release with weights, a text, nothing, and two files of several chunks.
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) revision: String,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

pub(crate) const CHUNK: usize = 16 << 20;
/// Files of several chunks, and how long they are.
pub(crate) const NOISE: [(&str, usize); 2] = [("noise-1.dat", 2 * CHUNK + 77), ("deep/er/noise-2.dat", CHUNK + 1)];

/// Publishes such a release.
pub(crate) async fn publish(portal: &TestPortal, name: &str, gate: Gate) -> Release {
    let weights = Weights::of("preln-fp16-sharded");
    for (seed, (path, length)) in NOISE.iter().enumerate() {
        weights.write(path, noise(seed as u64 + 1, *length));
    }
    weights.write("empty.txt", "");
    let revision = portal.publishes(name, gate, &weights).await.revision;
    let files = portal.stored(name, &revision).await;
    Release { name: name.into(), revision, files }
}

impl Release {
    /// Panics unless the folder of `puller` holds every file as published, and no partial one.
    #[track_caller]
    pub(crate) fn is_whole_at(&self, puller: &Puller) {
        for (path, bytes) in &self.files {
            assert!(puller.read(path) == *bytes, "{path} is not what was published");
        }
        assert_eq!(partials(puller), Vec::<String>::new());
    }

    /// How many chunks its files have together.
    pub(crate) fn chunks(&self) -> usize {
        self.files.values().map(|bytes| bytes.len().div_ceil(CHUNK)).sum()
    }

    /// All its bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|bytes| bytes.len() as u64).sum()
    }
}

/// Partial files in the folder.
pub(crate) fn partials(puller: &Puller) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![puller.folder()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(".sluice-part") {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_release_arrives_complete_and_proven_and_comes_only_once(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let ada = Puller::new(&portal.base);

    let foreseen = ada.pulls(&release.name, &["--dry-run", "--json"]).await;
    foreseen.with(0, "first contact");
    let foreseen: serde_json::Value = serde_json::from_str(&foreseen.well().out).unwrap();
    assert_eq!((foreseen["bytes_to_fetch"].as_u64(), foreseen["bytes_fetched"].as_u64()), (Some(release.bytes()), Some(0)));
    assert!(!ada.folder().exists(), "a dry run makes nothing");

    let pulled = ada.pulls(&release.name, &[]).await;
    pulled.well().with(0, "Fetched and verified");
    assert_eq!(pulled.out.trim(), ada.folder().to_str().unwrap());
    assert!(!pulled.said.contains('\r'), "no progress where there is no terminal: {:?}", pulled.said);
    release.is_whole_at(&ada);
    ada.verifies().await.well();

    let again: serde_json::Value = serde_json::from_str(&ada.pulls(&release.name, &["--json"]).await.well().out).unwrap();
    assert_eq!((again["bytes_fetched"].as_u64(), again["files"].as_u64()), (Some(0), Some(release.files.len() as u64)));
    assert_eq!(again["revision"], *release.revision);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn only_what_is_wanted_comes_and_the_rest_may_follow(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let ada = Puller::new(&portal.base);
    ada.pulls(&release.name, &["--include", "*.json", "--include", "deep/"]).await.well();
    assert!(ada.folder().join("deep/er/noise-2.dat").exists() && ada.folder().join("config.json").exists());
    assert!(!ada.folder().join("noise-1.dat").exists());
    ada.verifies().await.with(0, "never wanted");
    ada.pulls(&release.name, &["--include", "*.gguf"]).await.with(2, "no file of the release fits");

    ada.pulls(&release.name, &["--revision", &release.revision]).await.well();
    release.is_whole_at(&ada);
    ada.pulls(&release.name, &["--revision", &"0".repeat(40)]).await.with(1, "Invalid rev id");
    ada.pulls("acme/nothing", &[]).await.with(4, "sluice login");
    ada.pulls("acme", &[]).await.with(2, "no model's name");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_newer_release_replaces_what_changed_and_fetches_nothing_else(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let ada = Puller::new(&portal.base);
    ada.pulls(&release.name, &[]).await.well();

    let weights = Weights::of("preln-fp16-sharded");
    for (path, bytes) in &release.files {
        weights.write(path, bytes);
    }
    weights.write("README.md", "# Edited\n");
    let revision = portal.publishes(&release.name, Gate::Open, &weights).await.revision;
    let pulled: serde_json::Value = serde_json::from_str(&ada.pulls(&release.name, &["--json"]).await.well().out).unwrap();
    assert_eq!((pulled["revision"].as_str(), pulled["bytes_fetched"].as_u64()), (Some(revision.as_str()), Some(9)));
    assert_eq!(ada.read("README.md"), b"# Edited\n");
    ada.verifies().await.well();
}
