//! Where a bucket sends the bytes itself: addresses that expire, a store that is away, objects that spoil, and a token it never sees.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use server::catalog::Gate;
use server::storage::{ObjectKey, Objects, PART_BYTES, S3, Shown, Whole};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tests::{Asked, ObjectStore, Puller, TestPortal, Trouble, Weather};

use super::access::{grants, takes_back};
use super::{CHUNK, Release, publish};

/// A portal with a bucket, and what stands between a client and each of them. The store's host has another name than the portal's.
pub(super) struct Place {
    pub(super) portal: TestPortal,
    pub(super) release: Release,
    pub(super) token: String,
    pub(super) bucket: Weather,
    store: ObjectStore,
}

impl Place {
    /// Publishes a gated release that ada may have; from then on `rule` says what goes wrong with parts on their way from the bucket.
    pub(super) async fn with(db: PgPool, rule: impl Fn(&Asked) -> Option<Trouble> + Send + Sync + 'static) -> Self {
        let store = ObjectStore::start().await;
        let is_published = Arc::new(AtomicBool::new(false));
        let begins = is_published.clone();
        let bad = move |asked: &Asked| if begins.load(Ordering::SeqCst) && asked.is_chunk() { rule(asked) } else { None };
        let bucket = Weather::before(&store.endpoint(), bad).await;
        let address = bucket.base.replace("127.0.0.1", "localhost");
        let portal = TestPortal::start_with(db, &store.settings_but(&[("AWS_ENDPOINT_URL", &address)])).await;
        let release = publish(&portal, "acme/gated", Gate::Application).await;
        is_published.store(true, Ordering::SeqCst);
        let ada = portal.researcher("ada").await;
        grants(&portal, &ada).await;
        let token = ada.makes_token(&["download"]).await;
        Self { portal, release, token, bucket, store }
    }

    /// What clients asked the bucket for.
    fn asked(&self) -> Vec<Asked> {
        self.bucket.asked().into_iter().filter(|asked| asked.target.contains("X-Amz-Signature=")).collect()
    }

    fn s3(&self) -> &S3 {
        let Objects::S3(s3) = &self.portal.portal.objects else { panic!("a bucket") };
        s3
    }

    fn key_of(&self, path: &str) -> ObjectKey {
        ObjectKey::file(&server::integrity::sha256_hex(&self.release.files[path]))
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn addresses_that_expire_midway_are_asked_for_anew_and_the_bucket_never_sees_the_token(db: PgPool) {
    // The first of each part is cut in its middle, so that its rest needs another address.
    let place =
        Place::with(db, |asked| (asked.range?.0 % CHUNK as u64 == 0 && asked.range?.1 > 5_000_000).then_some(Trouble::Cut(5_000_000)))
            .await;
    let shown = Shown { media_type: "application/octet-stream", disposition: "inline".into(), caching: "no-store" };
    let mut expired = HashMap::new();
    for path in place.release.files.keys() {
        let address = place.s3().signed_get(&place.key_of(path), &shown, None, Duration::from_secs(1)).await.unwrap();
        expired.insert(path.clone(), address);
    }
    let probe = &expired["noise-1.dat"];
    while reqwest::get(probe).await.unwrap().status() == 200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Each address that is asked for has expired the first time, as for who was held up on the way.
    let front = Weather::before(&place.portal.base, move |asked| {
        let path = asked.target.split_once("/resolve/")?.1.split_once('/')?.1;
        (asked.is_chunk() && asked.again == 0).then(|| Trouble::Redirect(expired[path].clone()))
    })
    .await;
    let ada = Puller::new(&front.base).with_token(&place.token);
    let (before, stood) = (place.asked().len(), place.bucket.chunk_bytes());
    ada.pulls(&place.release.name, &["--jobs", "4"]).await.well();
    place.release.is_whole_at(&ada);
    ada.verifies().await.well();

    let asked = place.asked().split_off(before);
    let parts: Vec<_> = asked.iter().filter(|asked| asked.is_chunk()).collect();
    assert!(parts.len() > 2 * place.release.chunks(), "{} requests for {} chunks", parts.len(), place.release.chunks());
    let secret = format!("Bearer {}", place.token);
    assert!(front.asked().iter().all(|asked| asked.authorization.as_deref() == Some(secret.as_str())), "the portal knows who asks");
    for asked in place.bucket.asked() {
        let shown = asked.authorization.unwrap_or_default();
        assert!(!shown.contains(&place.token) && !asked.target.contains(&place.token), "the bucket saw the token");
    }
    assert!(asked.iter().all(|asked| asked.authorization.is_none()));
    // The refusals have a body, too: a few hundred bytes each.
    let most = place.release.bytes() + 1_000 * parts.len() as u64;
    let came = place.bucket.chunk_bytes() - stood;
    assert!(came <= most, "{came} bytes came, of {}", place.release.bytes());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_bucket_that_is_away_for_a_moment_is_waited_for(db: PgPool) {
    let mut place = Place::with(db, |_| Some(Trouble::Delay(Duration::from_millis(300)))).await;
    let ada = Puller::new(&place.portal.base).with_token(&place.token);
    let before = place.bucket.chunk_bytes();
    let pull = ada.begins(&place.release.name, &["--jobs", "1"]);
    while place.bucket.chunk_bytes() < before + 1_000_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    place.store.kill();
    let asked = place.asked().len();
    while place.asked().len() < asked + 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    place.store.starts_again().await;
    Puller::ends(pull).await.well();
    place.release.is_whole_at(&ada);
    let came = place.bucket.chunk_bytes() - before;
    assert!(came <= place.release.bytes() + CHUNK as u64, "{came} bytes came, of {}", place.release.bytes());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_object_that_spoilt_in_the_bucket_is_named_with_its_chunk_and_nothing_of_it_counts(db: PgPool) {
    let place = Place::with(db, |_| None).await;
    let good = &place.release.files["noise-1.dat"];
    let mut bad = good.clone();
    bad[CHUNK + 9] ^= 1;
    for (bytes, status) in [(&bad, 3), (good, 0)] {
        let at = place.portal.portal.config.data_dir.join("object");
        std::fs::write(&at, bytes).unwrap();
        let parts = bytes.chunks(PART_BYTES as usize).map(|part| Sha256::digest(part).into()).collect();
        let whole = Whole { path: at, size_bytes: bytes.len() as u64, parts };
        place.s3().upload(&place.key_of("noise-1.dat"), &whole, &|_| ()).await.unwrap();
        let ada = Puller::new(&place.portal.base).with_token(&place.token);
        let ended = ada.pulls(&place.release.name, &[]).await;
        if status == 0 {
            ended.well();
            place.release.is_whole_at(&ada);
        } else {
            ended.with(3, "chunk 1 of noise-1.dat came with other bytes than were signed");
            assert!(!ada.folder().join("noise-1.dat").exists());
        }
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_loses_access_midway_is_given_no_further_address(db: PgPool) {
    let place = Place::with(db, |_| Some(Trouble::Delay(Duration::from_millis(400)))).await;
    let ada = Puller::new(&place.portal.base).with_token(&place.token);
    let before = place.bucket.chunk_bytes();
    let pull = ada.begins(&place.release.name, &["--jobs", "1"]);
    while place.bucket.chunk_bytes() == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    takes_back(&place.portal).await;
    Puller::ends(pull).await.with(4, "was revoked").with(4, &format!("{}/grants/", place.portal.base));
    let stood = place.bucket.chunk_bytes();
    assert!(stood - before < place.release.bytes());
    let grace = place.portal.researcher("grace").await;
    grants(&place.portal, &grace).await;
    let ada = ada.with_token(&grace.makes_token(&["download"]).await);
    ada.pulls(&place.release.name, &[]).await.well();
    place.release.is_whole_at(&ada);
    let came = place.bucket.chunk_bytes() - before;
    assert!(came <= place.release.bytes() + CHUNK as u64, "{came} bytes came, of {}", place.release.bytes());
}
