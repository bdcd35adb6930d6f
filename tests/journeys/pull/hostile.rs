//! A portal that wants harm, with a good signature: names that leave the folder, lists without end, keys that change.

use std::sync::Arc;

use serde_json::json;
use server::integrity::{Entry, Manifest, Method, Resource, SignedRelease, SigningKey, Statement, sha256_hex, signature};
use tests::{Puller, Trouble, Weather};

/// A portal that says what it is told to say of one model.
struct Hostile {
    weather: Weather,
}

fn key() -> SigningKey {
    SigningKey::from_pem(&SigningKey::generate_pem().unwrap()).unwrap()
}

fn signed(method: Method, resources: Vec<Resource>, release: &SignedRelease, key: &SigningKey) -> Vec<u8> {
    let statement = Statement { subject: "acme/evil".into(), method, resources, ignored: Vec::new(), release: Some(release.clone()) };
    signature::sign(&statement, key).unwrap().into_bytes()
}

fn keys(keys: &[(&SigningKey, Option<&str>)]) -> Vec<u8> {
    let keys: Vec<_> = keys
        .iter()
        .map(|(key, retires_at)| {
            let public = key.public();
            json!({ "id": public.id(), "algorithm": "ecdsa-p256-sha256", "public_key_pem": public.to_pem(),
                    "created_at": "2026-01-01T00:00:00Z", "retires_at": retires_at, "current": retires_at.is_none() })
        })
        .collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

impl Hostile {
    /// Offers these small files, signed with `key`, and shows these keys.
    async fn offers(files: &[(&str, &str)], key: &SigningKey, shown: Vec<u8>) -> Self {
        let entry = |content: &str| Entry { size_bytes: content.len() as u64, sha256: sha256_hex(content.as_bytes()) };
        let revision = Manifest::new(files.iter().map(|(path, content)| ((*path).to_owned(), entry(content)))).revision();
        let listed: Vec<_> = files
            .iter()
            .map(|(path, content)| {
                let (sha256, blake3) = (sha256_hex(content.as_bytes()), blake3::hash(content.as_bytes()).to_hex().to_string());
                let chunks = [json!({ "sha256": sha256, "blake3": blake3 })];
                json!({ "path": path, "size": content.len(), "sha256": sha256, "blake3": blake3, "kind": "weights", "chunks": chunks })
            })
            .collect();
        let lines: String = listed.iter().map(|file| format!("{file}\n")).collect();
        let page = json!({ "format": "sluice-manifest-1", "model": "acme/evil", "revision": revision, "chunk_bytes": 16_777_216, "files": listed, "next": null });
        let release = SignedRelease { revision: revision.clone(), manifest_sha256: sha256_hex(lines.as_bytes()) };
        let whole = files.iter().map(|(path, content)| Resource::file(*path, sha256_hex(content.as_bytes()))).collect();
        let shards =
            files.iter().map(|(path, content)| Resource::shard(*path, 0..content.len() as u64, sha256_hex(content.as_bytes()))).collect();
        let bundles = [
            ("manifest.json", page.to_string().into_bytes()),
            ("model.sig", signed(Method::Files, whole, &release, key)),
            ("documents.sig", signed(Method::Files, Vec::new(), &release, key)),
            ("chunks.sig", signed(Method::Shards { shard_bytes: 16 << 20 }, shards, &release, key)),
        ];
        let files: Vec<(String, String)> = files.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect();
        let answer = move |target: &str| -> Vec<u8> {
            if target.starts_with("/api/models/acme/evil/revision/") {
                return json!({ "sha": revision }).to_string().into_bytes();
            }
            if target == "/.well-known/sluice-keys.json" {
                return shown.clone();
            }
            let bundle = bundles.iter().find(|(name, _)| target.contains(&format!("/proof/{revision}/{name}")));
            let file = files.iter().find(|(path, _)| target.ends_with(&format!("/resolve/{revision}/{path}")));
            bundle.map(|(_, bytes)| bytes.clone()).or_else(|| Some(file?.1.clone().into_bytes())).unwrap_or_else(|| b"OK".to_vec())
        };
        let weather =
            Weather::before("127.0.0.1:1", move |asked| Some(Trouble::Answer(200, "application/json", Arc::new(answer(&asked.target)))))
                .await;
        Self { weather }
    }
}

#[tokio::test]
async fn names_that_leave_the_folder_or_clash_are_refused_with_the_name_even_when_signed() {
    let key = key();
    for names in [
        &["../outside"][..],
        &["/tmp/outside"],
        &["a/../../outside"],
        &["config.json", "Config.json"],
        &["a", "a/b"],
        &[".sluice/journal"],
        &["x.sluice-part"],
        &["NUL.json"],
        &["a\\b"],
    ] {
        let files: Vec<_> = names.iter().map(|name| (*name, "content")).collect();
        let portal = Hostile::offers(&files, &key, keys(&[(&key, None)])).await;
        let ada = Puller::new(&portal.weather.base);
        let refused = ada.pulls("acme/evil", &[]).await;
        refused.with(1, &format!("{:?}", names.last().unwrap()));
        assert!(!ada.folder().exists() && !ada.home().join("outside").exists(), "{names:?}");
    }
}

#[tokio::test]
async fn a_key_that_changes_is_refused_whatever_is_shown_beside_it() {
    let (old, new, other) = (key(), key(), key());
    let files = [("config.json", "{}")];
    let portal = Hostile::offers(&files, &old, keys(&[(&old, None)])).await;
    let mut ada = Puller::new(&portal.weather.base);
    ada.pulls("acme/evil", &[]).await.well().with(0, &old.public().id());
    // The same address for all that follows: a portal's key is remembered by where it answers.
    let known = ada.home().join(".config/sluice/known-keys.json");
    let remembered = std::fs::read_to_string(&known).unwrap();
    let goes_to = |ada: &mut Puller, to: &Hostile| {
        std::fs::write(&known, remembered.replace(&portal.weather.base, &to.weather.base)).unwrap();
        ada.ask(&to.weather.base);
    };
    for shown in [
        keys(&[(&new, None)]),
        keys(&[(&new, None), (&old, Some("2020-01-01T00:00:00Z"))]),
        // As portals showed a rotation before their keys vouched for one another.
        keys(&[(&new, None), (&old, Some("2099-01-01T00:00:00Z"))]),
    ] {
        let changed = Hostile::offers(&files, &new, shown).await;
        goes_to(&mut ada, &changed);
        let refused = ada.pulls("acme/evil", &[]).await;
        refused.with(3, &old.public().id()).with(3, &new.public().id()).with(3, "has changed").with(3, "--key FILE");
    }
    // Signed with a key that nobody shows; and a key given by hand counts alone.
    let forged = Hostile::offers(&files, &other, keys(&[(&old, None)])).await;
    goes_to(&mut ada, &forged);
    ada.pulls("acme/evil", &[]).await.with(3, "another key");
    std::fs::write(ada.home().join("key.pem"), other.public().to_pem()).unwrap();
    ada.pulls("acme/evil", &["--key", "key.pem"]).await.well();
    goes_to(&mut ada, &portal);
    ada.pulls("acme/evil", &["--key", "key.pem"]).await.with(3, "another key");
}

#[tokio::test]
async fn a_list_of_a_million_files_is_refused_before_memory_is_gone() {
    let shown = keys(&[(&key(), None)]);
    let weather = Weather::before("127.0.0.1:1", move |asked| {
        let page = |from: u64| {
            let files: Vec<_> = (from..from + 640)
                .map(|number| {
                    let digests = json!({ "sha256": "0".repeat(64), "blake3": "0".repeat(64) });
                    json!({ "path": format!("f/{number:07}"), "size": 1, "sha256": "0".repeat(64), "blake3": "0".repeat(64), "kind": "document", "chunks": [digests] })
                })
                .collect();
            json!({ "format": "sluice-manifest-1", "model": "acme/evil", "revision": "0".repeat(40), "chunk_bytes": 16_777_216, "files": files, "next": (from + 640).to_string() })
        };
        let body = if asked.target.starts_with("/api/models/acme/evil/revision/") {
            json!({ "sha": "0".repeat(40) }).to_string()
        } else if let Some((_, cursor)) = asked.target.split_once("cursor=") {
            page(cursor.parse().unwrap()).to_string()
        } else if asked.target.contains("manifest.json") {
            page(0).to_string()
        } else if asked.target.contains("well-known") {
            String::from_utf8(shown.clone()).unwrap()
        } else {
            "OK".into()
        };
        Some(Trouble::Answer(200, "application/json", Arc::new(body.into_bytes())))
    })
    .await;
    let ada = Puller::new(&weather.base);
    ada.pulls("acme/evil", &[]).await.with(1, "more than 100000 files");
    assert!(weather.asked().len() < 200, "it stopped in time");
    assert!(!ada.folder().exists());
}
