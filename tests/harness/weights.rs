//! Folders of weights to publish: copies of the engine's fixtures, to be spoilt at will.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use server::catalog::{self, Gate, Meter, Order, Outcome, Published, Terms};

use crate::TestPortal;

/// A folder of weights of one's own.
pub struct Weights {
    folder: tempfile::TempDir,
}

impl Weights {
    /// A copy of a fixture of the engine (`inference/tests/fixtures/opt/NAME`), without the numbers expected of it.
    pub fn of(fixture: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/fixtures/opt").join(fixture);
        let weights = Self { folder: tempfile::tempdir().unwrap() };
        for entry in fs::read_dir(&from).unwrap_or_else(|cause| panic!("{}: {cause}", from.display())) {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if !name.starts_with("expected") {
                weights.write(&name, fs::read(entry.path()).unwrap());
            }
        }
        weights
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Adds or replaces a file.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let target = self.at(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, content).unwrap();
        self
    }

    /// The bytes of a file.
    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.at(path)).unwrap()
    }

    /// Changes a file.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> &Self {
        let mut content = self.read(path);
        change(&mut content);
        self.write(path, content)
    }

    /// Changes `config.json`.
    pub fn configure(&self, field: &str, value: impl Into<serde_json::Value>) -> &Self {
        self.change("config.json", |content| {
            let mut config: serde_json::Value = serde_json::from_slice(content).unwrap();
            config[field] = value.into();
            *content = config.to_string().into_bytes();
        })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

impl TestPortal {
    /// Publishes these weights as a release of `name`; panics unless they are fit.
    pub async fn publishes(&self, name: &str, gate: Gate, weights: &Weights) -> Published {
        match self.tries_to_publish(name, Some(gate), None, weights).await {
            Ok(Outcome::Published(published)) => published,
            Ok(Outcome::Unfit(faults)) => panic!("not fit: {faults:?}"),
            Err(error) => panic!("not published: {error}"),
        }
    }

    /// Tries to publish these weights.
    pub async fn tries_to_publish(
        &self,
        name: &str,
        gate: Option<Gate>,
        tag: Option<&str>,
        weights: &Weights,
    ) -> Result<Outcome, server::error::Error> {
        self.keeps_release(name, Some(Terms { gate, tag }), weights).await
    }

    /// Stores these weights as a draft; panics unless they are fit.
    pub async fn drafts(&self, name: &str, weights: &Weights) -> Published {
        match self.keeps_release(name, None, weights).await {
            Ok(Outcome::Published(draft)) => draft,
            Ok(Outcome::Unfit(faults)) => panic!("not fit: {faults:?}"),
            Err(error) => panic!("not stored: {error}"),
        }
    }

    async fn keeps_release(&self, name: &str, terms: Option<Terms<'_>>, weights: &Weights) -> Result<Outcome, server::error::Error> {
        let name = name.parse().unwrap();
        let order = Order { dir: weights.path(), name: &name, terms, notes: "", by: None };
        catalog::publish(&self.portal, &order, &Arc::new(Meter::default())).await
    }

    /// Every fault of these weights, by place.
    pub async fn finds_fault_with(&self, weights: &Weights) -> BTreeMap<String, String> {
        match self.tries_to_publish("acme/unfit", None, None, weights).await.unwrap() {
            Outcome::Published(published) => panic!("published as {}", published.revision),
            Outcome::Unfit(faults) => faults.into_iter().map(|fault| (fault.place, fault.problem)).collect(),
        }
    }

    /// The files of a model's release: path → content, as the store has them.
    pub async fn stored(&self, name: &str, revision: &str) -> BTreeMap<String, Vec<u8>> {
        let mut db = self.portal.db.acquire().await.unwrap();
        let (org, model) = name.split_once('/').unwrap();
        let model = catalog::find_model(&mut db, org, model).await.unwrap().expect("the model is on offer");
        let release = catalog::resolve(&mut db, model.id, revision).await.unwrap().expect("the release is on offer");
        let files = catalog::files(&mut db, release.id).await.unwrap();
        let mut found = BTreeMap::new();
        for file in files {
            let key = server::storage::ObjectKey::file(&file.sha256);
            found.insert(file.path, self.portal.objects.read(&key, file.size_bytes.unsigned_abs()).await.unwrap().to_vec());
        }
        found
    }

    /// Every object in the store, by its digest.
    pub async fn objects(&self) -> Vec<String> {
        let mut found: Vec<_> = self.portal.objects.list().await.unwrap().into_iter().map(|(key, _)| key.sha256().to_owned()).collect();
        found.sort();
        found
    }
}

/// Bytes of which no two stretches are alike: `length` of them, others for each seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
