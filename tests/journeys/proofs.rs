//! A release proves itself: signed when it is published, signed again when the key changes, verified without the portal.

use std::fs;

use server::catalog::{self, Gate};
use server::commands::key::{self, KeyCommand};
use server::integrity::{CHUNK_BYTES, Method, PublicKey, SignatureFault, Signed, signature};
use server::storage::ObjectKey;
use sqlx::PgPool;
use tests::{Person, TestPortal, Weights};
use time::Duration;

/// The key that signs now, from the place where everybody finds it.
async fn key_of(visitor: &Person) -> PublicKey {
    PublicKey::from_pem(&visitor.get("/.well-known/sluice-key.pem").await.text).unwrap()
}

async fn signed(visitor: &Person, path: &str, key: &PublicKey) -> Result<Signed, SignatureFault> {
    let page = visitor.get(path).await;
    assert_eq!(page.status, 200, "{}", page.text);
    signature::verify(&page.bytes, std::slice::from_ref(key))
}

async fn rotate(portal: &TestPortal, words: &[&str]) {
    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: KeyCommand,
    }
    let line = <Line as clap::Parser>::parse_from(["key", "rotate"].iter().chain(words));
    key::run(&portal.portal, line.command).await.unwrap();
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_published_release_is_signed_and_everybody_may_verify_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp16-sharded");
    weights.write("README.md", "# Tiny").write("data.txt", vec![7; 2 * CHUNK_BYTES as usize + 5]).write("empty.txt", "");
    let release = portal.publishes("acme/tiny", Gate::Application, &weights).await;
    let visitor = portal.visitor();
    let proofs = format!("/acme/tiny/proof/{}", release.revision);
    let key = key_of(&visitor).await;

    let model = signed(&visitor, &format!("{proofs}/model.sig"), &key).await.unwrap();
    let documents = signed(&visitor, &format!("{proofs}/documents.sig"), &key).await.unwrap();
    assert!(model.resources.iter().all(|file| file.path.ends_with(".safetensors")) && !model.resources.is_empty());
    assert!(documents.resources.iter().any(|file| file.path == "README.md"));
    assert_eq!(model.resources.len() + documents.resources.len(), release.files);
    for file in model.resources.iter().chain(&documents.resources) {
        assert_eq!(file.sha256, server::integrity::sha256_hex(&weights.read(&file.path)), "{}", file.path);
    }
    for signed in [&model, &documents] {
        assert_eq!((signed.subject.as_str(), &signed.release.as_ref().unwrap().revision), ("acme/tiny", &release.revision));
    }

    let chunks = signed(&visitor, &format!("{proofs}/chunks.sig"), &key).await.unwrap();
    assert_eq!(chunks.method, Method::Shards { shard_bytes: CHUNK_BYTES });
    let by_path = chunks.by_path();
    assert_eq!((by_path["data.txt"].len(), by_path.contains_key("empty.txt")), (3, false));
    assert_eq!(by_path["data.txt"][2].sha256, server::integrity::sha256_hex(&[7; 5]));

    let page = visitor.get(&format!("{proofs}/manifest.json")).await;
    assert!(page.header("cache-control").contains("immutable"));
    let manifest = page.json();
    assert_eq!((&manifest["format"], &manifest["next"]), (&"sluice-manifest-1".into(), &serde_json::Value::Null));
    let lines: String = manifest["files"].as_array().unwrap().iter().map(|file| format!("{file}\n")).collect();
    assert_eq!(server::integrity::sha256_hex(lines.as_bytes()), chunks.release.unwrap().manifest_sha256, "so the BLAKE3s are signed, too");

    let sums = visitor.get(&format!("{proofs}/SHA256SUMS")).await;
    sums.says(&format!("{}  README.md\n", server::integrity::sha256_hex(b"# Tiny")));
    visitor.get(&format!("{proofs}/B3SUMS")).await.says(&format!("{}  README.md\n", blake3::hash(b"# Tiny").to_hex()));
    let links = visitor.get(&format!("{proofs}/release.meta4")).await;
    links.says(&format!("<url priority=\"1\">{}/acme/tiny/resolve/{}/README.md</url>", portal.base, release.revision));
    links.says("<pieces length=\"16777216\" type=\"sha-256\">");

    let page = visitor.get("/acme/tiny").await;
    page.says(&format!("href=\"{proofs}/model.sig\"")).says("href=\"/.well-known/sluice-key.pem\"").says("model_signing verify key");
    // A branch is sent to the release that it names, so that proofs fetched one after another belong together.
    let moved = visitor.get("/acme/tiny/proof/main/SHA256SUMS").await;
    assert_eq!((moved.status, moved.location()), (307, format!("{proofs}/SHA256SUMS").as_str()));
    assert_eq!(visitor.get("/ACME/tiny/proof/main/SHA256SUMS").await.location(), "/acme/tiny/proof/main/SHA256SUMS");
    let head = visitor.request(reqwest::Method::HEAD, &format!("{proofs}/SHA256SUMS")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, sums.bytes.len().to_string().as_str()));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_rotated_key_signs_everything_and_the_one_before_retires(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp16-sharded");
    let release = portal.publishes("acme/tiny", Gate::Open, &weights).await;
    let (visitor, bundle) = (portal.visitor(), format!("/acme/tiny/proof/{}/chunks.sig", release.revision));
    let before = key_of(&visitor).await;
    let signed_before = signed(&visitor, &bundle, &before).await.unwrap();

    // Nothing is read again: the store may be away.
    let objects = portal.portal.config.data_dir.join("objects");
    fs::rename(&objects, objects.with_extension("away")).unwrap();
    rotate(&portal, &["--overlap-days", "30"]).await;
    let after = key_of(&visitor).await;
    assert!(matches!(signed(&visitor, &bundle, &before).await, Err(SignatureFault::OtherKey { .. })));
    assert_eq!(signed(&visitor, &bundle, &after).await.unwrap().resources, signed_before.resources);

    let keys = visitor.get("/.well-known/sluice-keys.json").await.json();
    let row = |n: usize| (keys["keys"][n]["id"].clone(), keys["keys"][n]["current"].clone(), keys["keys"][n]["retires_at"].clone());
    assert_eq!(row(0), (after.id().into(), true.into(), serde_json::Value::Null));
    let retires = portal.portal.clock.now() + Duration::days(30);
    assert_eq!(row(1), (before.id().into(), false.into(), format!("{}T09:00:00Z", retires.date()).into()));
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);

    let mut db = portal.portal.db.acquire().await.unwrap();
    let filter = server::audit::Filter { subjects: Some(vec![after.id()]), ..Default::default() };
    assert_eq!(server::audit::page(&mut db, &filter, 10).await.unwrap()[0].kind, "signing_key.rotated");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_release_from_before_there_were_signatures_is_signed_later(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let large = vec![3; CHUNK_BYTES as usize + 1];
    let old = portal.offers("lab/old", Gate::Open, &[("README.md", b"# Old"), ("model.safetensors", &large)]).await;
    let spoilt = portal.offers("lab/spoilt", Gate::Open, &[("model.safetensors", &vec![4; CHUNK_BYTES as usize + 1])]).await;
    let object = ObjectKey::file(&server::integrity::sha256_hex(&vec![4; CHUNK_BYTES as usize + 1]));
    let stored = portal.portal.objects.on_disk(&object, CHUNK_BYTES + 1).await.unwrap();
    fs::write(stored, vec![5; CHUNK_BYTES as usize + 1]).unwrap();
    let visitor = portal.visitor();
    let proof = |name: &str, revision: &str, file: &str| format!("/lab/{name}/proof/{revision}/{file}");
    for file in ["model.sig", "chunks.sig", "manifest.json", "release.meta4"] {
        let page = visitor.get(&proof("old", &old.revision, file)).await;
        assert_eq!(page.status, 503, "{file}");
        page.says("hashed again");
    }

    let mut skip = Vec::new();
    while catalog::prove_next(&portal.portal, &mut skip).await.unwrap() {}
    assert_eq!(skip.len(), 1, "what the store holds spoilt is not signed, and keeps nobody else waiting");
    let key = key_of(&visitor).await;
    let signed = signed(&visitor, &proof("old", &old.revision, "chunks.sig"), &key).await.unwrap();
    assert_eq!(signed.by_path()["model.safetensors"][1].sha256, server::integrity::sha256_hex(&[3]));
    assert_eq!(visitor.get(&proof("spoilt", &spoilt.revision, "model.sig")).await.status, 503);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_key_that_is_rotated_on_a_bad_moment_is_rotated_once_and_signs_a_moment_later(db: PgPool) {
    let portal = TestPortal::start_impatient(&db).await;
    portal.offers("demo/full", Gate::Open, &[("README.md", b"# Full")]).await;
    while catalog::prove_next(&portal.portal, &mut Vec::new()).await.unwrap() {}
    let mut lunch = db.begin().await.unwrap();
    sqlx::query("lock table release_proof in share mode").execute(&mut *lunch).await.unwrap();
    let (made, signed) = catalog::rotate_key(&portal.portal, Duration::days(90)).await.unwrap();
    assert_eq!((portal.portal.keys.list().unwrap().len(), signed), (2, 0));
    let mut skip = Vec::new();
    assert!(
        catalog::prove_next(&portal.portal, &mut skip).await.is_err() && skip.is_empty(),
        "it is the moment's fault, not the release's"
    );
    lunch.rollback().await.unwrap();
    assert!(catalog::prove_next(&portal.portal, &mut skip).await.unwrap() && skip.is_empty());
    let with: String = sqlx::query_scalar("select key_id from release_proof order by signed_at desc limit 1").fetch_one(&db).await.unwrap();
    assert_eq!(with, made.id);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_long_manifest_comes_in_pages(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let names: Vec<String> = (0..1_500).map(|n| format!("shards/model-{n:05}-of-01500.safetensors")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"the same"[..])).collect();
    let offer = portal.offers("lab/long", Gate::Open, &files).await;
    let (visitor, path) = (portal.visitor(), format!("/lab/long/proof/{}/manifest.json", offer.revision));
    let (mut seen, mut query) = (Vec::new(), String::new());
    loop {
        let page = visitor.get(&format!("{path}{query}")).await;
        assert!(page.status == 200 && page.bytes.len() <= 200_000, "{} bytes", page.bytes.len());
        let page = page.json();
        seen.extend(page["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?cursor={}", next.replace('/', "%2F"));
    }
    assert_eq!(seen, names);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_report_on_the_tensors_does_not_depend_on_their_container(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let visitor = portal.visitor();
    let mut digests = Vec::new();
    for (name, fixture) in [("acme/pickled", "preln-fp16-bin-sharded"), ("acme/safe", "preln-fp16-bin-sharded")] {
        let weights = Weights::of(fixture);
        if name == "acme/safe" {
            // The same tensors, published as they lie in the first release.
            for (path, bytes) in portal.stored("acme/pickled", "main").await {
                weights.write(&path, bytes);
            }
        }
        let given = inference::Checkpoint::open_dir(weights.path()).unwrap();
        let release = portal.publishes(name, Gate::Open, &weights).await;
        let report = visitor.get(&format!("/{name}/proof/{}/tensors.json", release.revision)).await.json();
        assert_eq!((&report["format"], &report["revision"]), (&"sluice-tensors-1".into(), &release.revision.clone().into()));
        let facts = inference::checkpoint::facts(&given, &|_| {}).unwrap();
        assert_eq!(report["digest"], inference::checkpoint::digest_of_all(&facts), "{name}: what its holder computes");
        let tensors = report["tensors"].as_array().unwrap();
        assert_eq!(tensors.len(), facts.len());
        assert!(tensors.iter().all(|tensor| tensor["finite"] == tensor["count"] && tensor["absmax"].as_f64().unwrap() > 0.0));
        let words = &report["generation"];
        assert_eq!((words["token_ids"].as_array().unwrap().len(), words["sha256"].as_str().unwrap().len()), (16, 64), "{words}");
        digests.push((report["digest"].clone(), words["sha256"].clone()));
    }
    assert_eq!(digests[0], digests[1]);
}
