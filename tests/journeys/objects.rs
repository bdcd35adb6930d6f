//! Where the weights lie: what a folder does a bucket does, and what is wrong with a bucket is told so that it can be mended.

use std::io::{Read, Write};

use futures_util::TryStreamExt;
use reqwest::Method;
use server::catalog::{self, Gate};
use server::storage::{ObjectKey, Objects, PART_BYTES, Problem, Whole};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tests::{Installation, ObjectStore, Page, Person, TestPortal, Weights, bucket, noise};

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

fn key_of(bytes: &[u8]) -> ObjectKey {
    ObjectKey::file(&hex(bytes))
}

fn whole(path: &std::path::Path, bytes: &[u8]) -> Whole {
    std::fs::write(path, bytes).unwrap();
    let parts = bytes.chunks(PART_BYTES as usize).map(|part| Sha256::digest(part).into()).collect();
    Whole { path: path.to_owned(), size_bytes: bytes.len() as u64, parts }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_folder_keeps_what_it_is_given(db: PgPool) {
    keeps_what_it_is_given(&TestPortal::start(db).await).await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_bucket_keeps_what_it_is_given(db: PgPool) {
    let store = ObjectStore::start().await;
    let portal = TestPortal::start_with(db, &store.settings()).await;
    assert!(matches!(portal.portal.objects, Objects::S3(_)));
    keeps_what_it_is_given(&portal).await;
}

/// The suite of both stores.
async fn keeps_what_it_is_given(portal: &TestPortal) {
    let objects = &portal.portal.objects;
    objects.check().await.unwrap();
    objects.try_out().await.unwrap();
    assert!(objects.list().await.unwrap().is_empty());
    let absent = key_of(b"absent");
    assert_eq!(objects.size(&absent).await.unwrap(), None);
    let missing = objects.slice(&absent, 6, 0, 6).await.err().expect("it is not there");
    assert!(matches!(missing, Problem::Missing(_)), "{missing}");
    objects.remove(&absent).await.unwrap();

    // Three parts and a little, exactly two, one byte, nothing; and weights that are converted on their way.
    let (long, even) = (noise(1, 3 * PART_BYTES as usize + 4_321), noise(2, 2 * PART_BYTES as usize));
    let weights = Weights::of("postln-proj-fp16-bin");
    weights.write("long.dat", &long).write("even.dat", &even).write("one.dat", "1").write("empty.dat", "");
    let published = portal.publishes("acme/tiny", Gate::Open, &weights).await;
    assert_eq!(published.written_bytes, published.size_bytes, "all of it was new");
    let stored = portal.stored("acme/tiny", "main").await;
    for (path, bytes) in [("long.dat", &long), ("even.dat", &even), ("one.dat", &b"1".to_vec()), ("empty.dat", &vec![])] {
        assert!(stored[path] == *bytes, "{path}");
    }
    assert!(stored.contains_key("model.safetensors"));
    let again = portal.publishes("acme/tiny", Gate::Open, &weights).await;
    assert_eq!((again.revision, again.is_new, again.written_bytes), (published.revision, false, 0));
    assert_eq!(portal.objects().await.len(), stored.len());

    let (key, size) = (key_of(&long), long.len() as u64);
    assert_eq!(objects.size(&key).await.unwrap(), Some(size));
    for (start, len) in [(0, 1), (PART_BYTES - 3, 7), (size - 5, 5), (17, size - 17), (0, size), (5, 0)] {
        let slice: Vec<_> = objects.slice(&key, size, start, len).await.unwrap().try_collect().await.unwrap();
        assert!(slice.concat() == long[start as usize..(start + len) as usize], "{len} bytes from {start}");
    }
    let spoilt = objects.slice(&key, size + 1, 0, size + 1).await.err().expect("it is shorter");
    assert!(matches!(spoilt, Problem::Spoilt(_)), "{spoilt}");

    let copy = objects.on_disk(&key, size).await.unwrap();
    assert!(std::fs::read(&copy).unwrap() == long, "the engine maps it");
    assert_eq!(objects.on_disk(&key, size).await.unwrap(), copy);

    assert_eq!(objects.sweep(portal.portal.clock.now()).await.unwrap(), 0, "nothing was left behind");
    objects.remove(&key).await.unwrap();
    assert_eq!(objects.size(&key).await.unwrap(), None);
    assert_eq!(portal.objects().await.len(), stored.len() - 1);
}

#[tokio::test]
async fn an_upload_goes_on_where_it_stood_and_what_the_store_holds_is_verified() {
    let mut store = ObjectStore::start().await;
    let home = tempfile::tempdir().unwrap();
    let bucket = bucket(&store.settings(), home.path());
    let bytes = noise(3, 7 * PART_BYTES as usize + 99);
    let given = whole(&home.path().join("given"), &bytes);
    let (key, size) = (key_of(&bytes), bytes.len() as u64);

    let safe = std::sync::atomic::AtomicU64::new(0);
    let half_way = tokio::sync::Notify::new();
    let progress = |sent| {
        if safe.fetch_add(sent, std::sync::atomic::Ordering::SeqCst) + sent >= 3 * PART_BYTES {
            half_way.notify_one();
        }
    };
    tokio::select! {
        sent = bucket.upload(&key, &given, &progress) => panic!("it was done before it could be interrupted: {sent:?}"),
        () = half_way.notified() => {}
    }
    assert_eq!(bucket.size(&key).await.unwrap(), None, "half an object is not seen");
    store.kill();
    store.starts_again().await;
    let sent = bucket.upload(&key, &given, &|_| ()).await.unwrap();
    let stood = safe.into_inner();
    assert!(sent <= size - stood && sent > 0, "{stood} of {size} bytes were safe, and {sent} were sent again");
    assert_eq!(bucket.size(&key).await.unwrap(), Some(size));
    assert_eq!(bucket.upload(&key, &given, &|_| ()).await.unwrap(), size, "whoever asks for it gets it written anew");

    // A file that changes between hashing and sending is refused by the store itself.
    let mut changed = bytes.clone();
    changed[2 * PART_BYTES as usize + 5] ^= 1;
    let key = key_of(&changed);
    let promised = whole(&home.path().join("changed"), &changed);
    std::fs::write(&promised.path, &bytes).unwrap();
    let refused = bucket.upload(&key, &promised, &|_| ()).await.unwrap_err();
    assert!(matches!(refused, Problem::Spoilt(_)), "{refused}");
    assert_eq!(bucket.size(&key).await.unwrap(), None);

    // The parts of that upload are in the store; one of them is not what the next publisher takes it for.
    let mut other = changed.clone();
    other[0] ^= 1;
    let other = whole(&home.path().join("other"), &other);
    let _ = bucket.upload(&key, &Whole { parts: [&other.parts[..2], &promised.parts[2..]].concat(), ..other }, &|_| ()).await;
    let mended = whole(&home.path().join("changed"), &changed);
    bucket.upload(&key, &mended, &|_| ()).await.unwrap();
    let stored: Vec<_> = bucket.slice(&key, size, 0, size).await.unwrap().try_collect().await.unwrap();
    assert!(stored.concat() == changed);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_is_wrong_with_a_bucket_is_told(db: PgPool) {
    let mut store = ObjectStore::start().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = format!("http://localhost:{nobody}");
    let date =
        (server::clock::Clock::System.now() - time::Duration::minutes(10)).format(&time::format_description::well_known::Rfc2822).unwrap();
    let date = date.replace("+0000", "GMT");
    let refused = "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message></Error>";
    let yesterday = pretended_store("403 Forbidden", &date, refused);
    let slow = pretended_store("200 OK", &date, "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>");
    for (changed, words, advice) in [
        ([("AWS_SECRET_ACCESS_KEY", "wrong")], "refuses our credentials", "AWS_SECRET_ACCESS_KEY"),
        ([("AWS_ACCESS_KEY_ID", "stranger")], "refuses our credentials", "AWS_ACCESS_KEY_ID"),
        ([("SLUICE_OBJECTS", "s3://other-bucket")], "has no such bucket", "no bucket other-bucket"),
        ([("AWS_ENDPOINT_URL", nowhere.as_str())], "does not answer", "AWS_ENDPOINT_URL"),
        ([("AWS_ENDPOINT_URL", yesterday.as_str())], "has another time than this machine", "timedatectl"),
        ([("AWS_ENDPOINT_URL", slow.as_str())], "has another time than this machine", "behind this machine's"),
    ] {
        let portal = TestPortal::start_with(db.clone(), &store.settings_but(&changed)).await;
        let problem = portal.portal.objects.check().await.unwrap_err();
        assert!(problem.words() == words && problem.to_string().contains(advice), "{changed:?}: {problem}");
        assert_eq!(readiness(&portal).await, (503, words.to_owned()));
        let refused = portal.tries_to_publish("acme/tiny", None, None, &Weights::of("preln-fp32")).await.unwrap_err();
        assert!(refused.to_string().contains(advice), "{refused}");

        let place = Installation::fresh();
        let output = place.sluice(&["serve"]).envs(store.settings_but(&changed)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(advice), "{changed:?}: {said}");
    }
    let portal = TestPortal::start_with(db, &store.settings()).await;
    assert_eq!(readiness(&portal).await, (200, "ok".to_owned()));
    store.kill();
    assert_eq!(readiness(&portal).await, (503, "does not answer".to_owned()));
    store.starts_again().await;
    assert_eq!(readiness(&portal).await, (200, "ok".to_owned()));
}

/// What answers everything alike, as a store whose clock is off does.
fn pretended_store(status: &str, date: &str, body: &str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heads = format!("Date: {date}\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: {}", body.len());
    let answer = format!("HTTP/1.1 {status}\r\n{heads}\r\n\r\n{body}");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0; 8192]);
            let _ = client.write_all(answer.as_bytes());
        }
    });
    format!("http://localhost:{}", address.port())
}

async fn readiness(portal: &TestPortal) -> (u16, String) {
    let answer: Page = portal.visitor().get("/readyz").await;
    let store = answer.json()["store"].as_str().unwrap().to_owned();
    (answer.status, store)
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_model_in_a_bucket_runs_from_a_verified_copy(db: PgPool) {
    let store = ObjectStore::start().await;
    let portal = TestPortal::start_with(db.clone(), &store.settings()).await;
    catalog::publish_demo_if_empty(&portal.portal).await.unwrap();
    let ada = portal.researcher("ada").await;
    let token = ada.makes_token(&["api"]).await;
    let (status, answer) = completes(&ada.with_token(&token)).await;
    assert_eq!(status, 200, "{answer}");

    let copies = portal.portal.config.data_dir.join("copies");
    let mut copied = 0;
    for entry in std::fs::read_dir(&copies).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(hex(&std::fs::read(entry.path()).unwrap()), entry.file_name().to_str().unwrap());
        copied += 1;
    }
    assert!(copied >= 3, "weights, configuration, tokenizer: {copied}");

    let stored = portal.stored("sluice/opt-verse-6m", "main").await;
    let weights = &stored["model.safetensors"];
    let demo = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/demo/opt-verse-6m/model.safetensors")).unwrap();
    assert!(*weights == demo);

    // What the bucket holds has been exchanged for something of the same length: a portal without a copy refuses to run it.
    let mut other = demo.clone();
    let last = other.len() - 1;
    other[last] ^= 1;
    let home = tempfile::tempdir().unwrap();
    let exchanged = whole(&home.path().join("other"), &other);
    bucket(&store.settings(), home.path()).upload(&key_of(&demo), &exchanged, &|_| ()).await.unwrap();
    let (status, _) = completes(&ada.with_token(&token)).await;
    assert_eq!(status, 200, "who has a copy goes on");
    let elsewhere = TestPortal::start_with(db, &store.settings()).await;
    let (status, refused) = completes(&Person::new(&elsewhere.base, "").with_token(&token)).await;
    assert_eq!(status, 500, "{refused}");
    assert!(elsewhere.portal.engine.loaded().is_empty());
}

/// Asks the demo model for a few tokens.
async fn completes(program: &Person) -> (u16, serde_json::Value) {
    let body = serde_json::json!({ "model": "sluice/opt-verse-6m", "prompt": "The water", "max_tokens": 4, "temperature": 0 });
    let answer = Page::of(program.request(Method::POST, "/v1/completions").json(&body).send().await.unwrap()).await;
    (answer.status, answer.json())
}
