//! How the bytes of a bucket reach who may have them, and how a revocation ends what is running.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::Method;
use server::catalog::Gate;
use server::storage::{ObjectKey, Objects, Shown};
use sqlx::PgPool;
use tests::{Installation, ObjectStore, Page, Person, TestPortal, Weights, noise};

/// A revocation has to end a stream within so long.
const CUT_WITHIN: Duration = Duration::from_secs(5);

/// As a program does: with a range, redirects seen and not followed.
async fn asks(person: &Person, method: Method, path: &str, headers: &[(&str, &str)]) -> Page {
    let request = headers.iter().fold(person.request(method, path), |request, (name, value)| request.header(*name, *value));
    Page::of(request.send().await.unwrap()).await
}

/// A request at another host, with nothing of the portal's.
async fn fetch(url: &str, headers: &[(&str, &str)]) -> Page {
    let request = headers.iter().fold(reqwest::Client::new().get(url), |request, (name, value)| request.header(*name, *value));
    Page::of(request.send().await.unwrap()).await
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_bucket_sends_its_bytes_itself_to_who_may_have_them(db: PgPool) {
    let store = ObjectStore::start().await;
    let portal = TestPortal::start_with(db.clone(), &store.settings()).await;
    let weights = noise(5, 20_000_000);
    let files: [(&str, &[u8]); 4] =
        [("README.md", b"# tiny\n"), ("config.json", b"{}"), ("empty.txt", b""), ("sub/model.safetensors", &weights)];
    let offer = portal.offers("acme/tiny", Gate::Application, &files).await;
    let ada = portal.researcher("ada").await;
    let token = ada.makes_token(&["download"]).await;
    let (ada, path) = (ada.with_token(&token), offer.url("sub/model.safetensors"));
    let refused = asks(&ada, Method::GET, &path, &[]).await;
    assert!(refused.status == 403 && refused.location().is_empty(), "{}", refused.status);
    portal.grants(&offer, "ada@university.edu", 30).await;

    let told = asks(&ada, Method::HEAD, &path, &[]).await;
    assert_eq!((told.status, told.header("content-length"), told.location()), (200, "20000000", ""), "HEAD is the portal's");
    let sent = asks(&ada, Method::GET, &path, &[]).await;
    assert_eq!((sent.status, sent.header("cache-control"), sent.header("x-repo-commit")), (302, "no-store", offer.revision.as_str()));
    assert_eq!((sent.header("x-linked-size"), sent.header("etag")), ("20000000", told.header("etag")));
    let address = sent.location();
    assert!(address.starts_with("http://localhost:") && !address.contains(&token), "{address}");
    let bytes = fetch(address, &[]).await;
    assert!(bytes.status == 200 && bytes.bytes == weights);
    assert_eq!(bytes.header("content-disposition"), "inline; filename*=UTF-8''model.safetensors; filename=\"model.safetensors\"");
    assert_eq!(bytes.header("content-type"), "application/octet-stream");
    let part = fetch(address, &[("range", "bytes=16777210-16777229")]).await;
    assert!(part.status == 206 && part.bytes[..] == weights[16_777_210..16_777_230]);

    // Of which a part was asked for, that part alone can be fetched, as it alone is counted.
    let two = asks(&ada, Method::GET, &path, &[("range", "bytes=7-8")]).await;
    assert_eq!(two.status, 302);
    for (headers, status) in [(&[("range", "bytes=7-8")][..], 206), (&[("range", "bytes=7-9")], 403), (&[], 403)] {
        let page = fetch(two.location(), headers).await;
        assert_eq!(page.status, status, "{headers:?}: {}", page.text);
        assert!(status != 206 || page.bytes[..] == weights[7..9]);
    }
    // What a store might read otherwise, or not at all, is sent by the portal.
    for odd in ["Bytes=7-8", "bytes =7-8", "bytes= 7-8", "bytes=19999998-99999999999999999999999999"] {
        let page = asks(&ada, Method::GET, &path, &[("range", odd)]).await;
        assert_eq!((page.status, page.bytes.len()), (206, 2), "{odd}");
    }
    let stale = asks(&ada, Method::GET, &path, &[("range", "bytes=7-8"), ("if-range", "\"another\"")]).await;
    assert!(stale.status == 200 && stale.bytes == weights, "which is all of it");

    // What needs no bytes is answered by the portal.
    assert_eq!(asks(&ada, Method::GET, &path, &[("range", "bytes=20000000-")]).await.status, 416);
    assert_eq!(asks(&ada, Method::GET, &path, &[("if-none-match", told.header("etag"))]).await.status, 304);
    let small = asks(&portal.visitor(), Method::GET, &offer.url("README.md"), &[]).await;
    assert_eq!(fetch(small.location(), &[]).await.text, "# tiny\n");
    assert_eq!(fetch(asks(&ada, Method::GET, &offer.url("empty.txt"), &[]).await.location(), &[]).await.status, 200);

    // A program that would carry its token to the store gets the bytes from here.
    for client in ["aria2/1.36.0", "Wget/1.21.3"] {
        let here = asks(&ada, Method::GET, &path, &[("user-agent", client), ("range", "bytes=5-9")]).await;
        assert!(here.status == 206 && here.bytes[..] == weights[5..10], "{client}");
    }

    portal.writes_the_ledger().await;
    let rows = server::downloads::page(&mut db.acquire().await.unwrap(), &Default::default(), None, 10).await.unwrap();
    let row = rows.iter().find(|row| row.path == "sub/model.safetensors").unwrap();
    assert_eq!((row.requests, row.sent_bytes), (9, 40_000_020), "one row, of what was handed over");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_address_works_for_one_object_and_a_short_time(db: PgPool) {
    let store = ObjectStore::start().await;
    let portal = TestPortal::start_with(db, &store.settings()).await;
    let offer = portal.offers("acme/tiny", Gate::Open, &[("a.txt", b"one"), ("b.txt", b"two")]).await;
    let nobody = portal.visitor();
    let address = asks(&nobody, Method::GET, &offer.url("a.txt"), &[]).await.location().to_owned();
    let other = asks(&nobody, Method::GET, &offer.url("b.txt"), &[]).await.location().to_owned();
    let (path, query) = address.split_once('?').unwrap();
    let (other_path, _) = other.split_once('?').unwrap();
    let life = query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Expires=")).unwrap();
    assert!(life.parse::<u32>().unwrap() <= 300, "{life} s");
    for wrong in [path.to_owned(), format!("{other_path}?{query}"), address.replace("X-Amz-Expires=300", "X-Amz-Expires=30000")] {
        assert_eq!(fetch(&wrong, &[]).await.status, 403, "{wrong}");
    }
    assert_eq!(fetch(&address, &[]).await.text, "one");

    let Objects::S3(s3) = &portal.portal.objects else { panic!("a bucket") };
    let shown = Shown { media_type: "text/plain", disposition: "inline".into(), caching: "no-store" };
    let key = ObjectKey::file(&data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(b"one")));
    let brief = s3.signed_get(&key, &shown, None, Duration::from_secs(1)).await.unwrap();
    let asked = Instant::now();
    while fetch(&brief, &[]).await.status == 200 {
        assert!(asked.elapsed() < Duration::from_secs(10), "it still works");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fetch(&brief, &[]).await.status, 403, "it has expired");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_gateway_hands_the_bytes_of_a_bucket_on(db: PgPool) {
    let store = ObjectStore::start().await;
    let portal = TestPortal::start_with(db, &store.settings_but(&[("SLUICE_OBJECTS_DELIVERY", "gateway")])).await;
    let weights = noise(6, 40_000_000);
    let offer = portal.offers("acme/tiny", Gate::Open, &[("model.safetensors", &weights), ("empty.txt", b"")]).await;
    let (nobody, path) = (portal.visitor(), offer.url("model.safetensors"));
    let whole = asks(&nobody, Method::GET, &path, &[]).await;
    assert!(whole.status == 200 && whole.bytes == weights && whole.header("digest").starts_with("SHA-256="));
    for (range, start, end) in [("bytes=0-0", 0, 1), ("bytes=39999990-", 39_999_990, 40_000_000), ("bytes=-7", 39_999_993, 40_000_000)] {
        let part = asks(&nobody, Method::GET, &path, &[("range", range)]).await;
        assert!(part.status == 206 && part.bytes[..] == weights[start..end], "{range}");
    }
    assert_eq!(asks(&nobody, Method::GET, &offer.url("empty.txt"), &[]).await.header("content-length"), "0");
}

#[tokio::test]
async fn a_revocation_or_a_yank_ends_what_a_folder_sends() {
    ends_what_is_running(&Installation::fresh(), &[]).await;
}

#[tokio::test]
async fn a_revocation_or_a_yank_ends_what_a_gateway_sends() {
    let store = ObjectStore::start().await;
    let settings = store.settings_but(&[("SLUICE_OBJECTS_DELIVERY", "gateway")]);
    ends_what_is_running(&Installation::fresh(), &settings).await;
}

async fn ends_what_is_running(place: &Installation, settings: &[(&str, String)]) {
    let weights = Weights::of("preln-fp32");
    std::fs::File::create(weights.path().join("large.dat")).unwrap().set_len(200_000_000).unwrap();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let run = |arguments: &[&str]| {
        let output = place.sluice(arguments).envs(settings.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let publish = || run(&["publish", weights.path().to_str().unwrap(), "acme/large"]);
    let revision = publish();
    weights.write("README.md", "# The next release, with the same large file");
    let next = publish();
    let portal = place.serve_with(&settings).await;
    let path_at = |revision: &str| format!("/acme/large/resolve/{revision}/large.dat");
    let path = path_at(&revision);
    let mut streams = Vec::new();
    let mut terminals = Vec::new();
    let mut browsers = Vec::new();
    for name in ["ada", "bob", "eve"] {
        let email = format!("{name}@university.edu");
        browsers.push(place.person(&email, "researcher").await);
        run(&["grant", "add", &email, "acme/large", "--reason", "test"]);
        let token = run(&["token", "add", &email, "--scope", "download"]);
        let terminal = Person::new(&portal.base, &email).with_token(&token);
        streams.push(Slow::reading(&terminal, &path).await);
        terminals.push(terminal);
    }
    let [mut ada, mut bob, mut eve] = streams.try_into().ok().unwrap();
    for stream in [&mut ada, &mut bob, &mut eve] {
        stream.reads_for(Duration::from_millis(300)).await.expect("it runs");
    }
    run(&["grant", "revoke", "ada@university.edu", "acme/large", "--reason", "test"]);
    let tokens = browsers[1].get("/account/tokens").await;
    let revoke = tokens.text.split('"').find(|part| part.starts_with("/account/tokens/") && part.ends_with("/revoke")).unwrap().to_owned();
    assert_eq!(browsers[1].post(&revoke, &[]).await.status, 303);
    let revoked = Instant::now();
    for stream in [&mut ada, &mut bob] {
        let left = CUT_WITHIN.saturating_sub(revoked.elapsed());
        let read = stream.reads_for(left).await.expect_err("it was ended");
        assert!(read < 200_000_000, "all of it had come");
    }
    eve.reads_for(Duration::from_millis(500)).await.expect("nobody took anything from her");

    let mut eve_too = Slow::reading(&terminals[2], &path_at(&next)).await;
    eve_too.reads_for(Duration::from_millis(300)).await.expect("it runs");
    run(&["release", "yank", "acme/large", &revision, "--reason", "a shard was corrupt"]);
    let read = eve.reads_for(CUT_WITHIN).await.expect_err("what was yanked is not given out any more");
    assert!(read < 200_000_000, "all of it had come");
    eve_too.reads_for(Duration::from_millis(500)).await.expect("the other release is as good as before");
}

/// A client that reads ten megabytes a second.
struct Slow {
    bytes: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>>>>,
    read: u64,
    begun: Instant,
}

impl Slow {
    const BYTES_PER_MS: u64 = 10_000;

    async fn reading(person: &Person, path: &str) -> Self {
        let answer = person.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        Self { bytes: Box::pin(answer.bytes_stream()), read: 0, begun: Instant::now() }
    }

    /// Reads for so long; the error is how many bytes had come when the stream broke.
    async fn reads_for(&mut self, time: Duration) -> Result<(), u64> {
        let until = Instant::now() + time;
        // What it might have read meanwhile is not made up for.
        self.begun = Instant::now() - Duration::from_millis(self.read / Self::BYTES_PER_MS);
        while Instant::now() < until {
            match self.bytes.next().await {
                Some(Ok(piece)) => self.read += piece.len() as u64,
                Some(Err(_)) | None => return Err(self.read),
            }
            let due = self.begun + Duration::from_millis(self.read / Self::BYTES_PER_MS);
            tokio::time::sleep_until(due.into()).await;
        }
        Ok(())
    }
}
