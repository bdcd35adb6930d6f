//! What an account may download in a day and at once, and what it is told about it; and the pages of the ledger.

use futures_util::StreamExt;
use reqwest::{Method, Response};
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Person, TestPortal};
use time::Duration;

const LARGE: usize = 40_000;

async fn portal(db: PgPool, bytes_a_day: u64, at_once: usize) -> (TestPortal, String) {
    let settings = [("SLUICE_DOWNLOAD_BYTES_A_DAY", bytes_a_day.to_string()), ("SLUICE_DOWNLOADS_AT_ONCE", at_once.to_string())];
    let portal = TestPortal::start_with(db, &settings).await;
    let offer = portal.offers("lab/open", Gate::Open, &[("README.md", b"# Open"), ("model.safetensors", &vec![7; LARGE])]).await;
    let url = offer.url("model.safetensors");
    (portal, url)
}

async fn asks(person: &Person, method: Method, url: &str, range: Option<&str>) -> Response {
    let request = person.request(method, url);
    let request = range.into_iter().fold(request, |request, range| request.header("range", range));
    request.send().await.unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Reads to the end and lets the server see that it was read.
async fn reads(portal: &TestPortal, answer: Response) -> usize {
    let read = answer.bytes().await.unwrap().len();
    portal.downloads_end().await;
    read
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_day_is_used_up_by_ranges_too_and_begins_anew_at_midnight(db: PgPool) {
    let (portal, url) = portal(db, 100_000, 8).await;
    let ada = portal.researcher("ada").await;
    let terminal = ada.with_token(&ada.makes_token(&["download"]).await);

    let first = asks(&terminal, Method::GET, &url, None).await;
    assert_eq!(first.status().as_u16(), 200);
    assert_eq!(
        header(&first, "ratelimit-policy"),
        "\"day\";q=100000;qu=\"content-bytes\";w=86400, \"places\";q=8;qu=\"concurrent-requests\""
    );
    assert!(header(&first, "ratelimit").starts_with("\"day\";r=60000;t=54000"), "{}", header(&first, "ratelimit"));
    assert_eq!(reads(&portal, first).await, LARGE);
    for (start, end) in [(0, 29_999), (0, 29_999)] {
        let answer = asks(&terminal, Method::GET, &url, Some(&format!("bytes={start}-{end}"))).await;
        assert_eq!(answer.status().as_u16(), 206);
        reads(&portal, answer).await;
    }

    for method in [Method::HEAD, Method::GET] {
        let refused = asks(&terminal, method, &url, Some("bytes=0-0")).await;
        assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "54000"), "until midnight");
        assert!(header(&refused, "ratelimit").starts_with("\"day\";r=0;t=54000"));
        assert_eq!(header(&refused, "x-error-code"), "GatedRepo");
        assert!(header(&refused, "x-error-message").contains("More from 00:00 UTC on"));
        assert!(header(&refused, "x-hf-warning").starts_with("quota; "));
    }
    let card = asks(&terminal, Method::GET, "/lab/open/resolve/main/README.md", None).await;
    assert!(card.status().as_u16() < 400, "what everybody may read is not counted");
    ada.get("/account/downloads").await.says("100 kB of 100 kB").says("all for today");
    let bob = portal.researcher("bob").await;
    assert_eq!(bob.fetch(&url).await.status, 200, "others have days of their own");

    portal.wait(Duration::hours(15));
    assert_eq!(asks(&terminal, Method::GET, &url, None).await.status().as_u16(), 200);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_was_sent_before_a_restart_counts_and_what_was_not_sent_does_not(db: PgPool) {
    let (portal, url) = portal(db.clone(), 60_000, 8).await;
    let ada = portal.researcher("ada").await;
    reads(&portal, asks(&ada, Method::GET, &url, None).await).await;
    portal.writes_the_ledger().await;
    // The process forgets; the ledger does not.
    let tomorrow = portal.portal.clock.now() + Duration::days(9);
    portal.portal.limits.sweep(tomorrow);
    let second = asks(&ada, Method::GET, &url, Some("bytes=0-9999")).await;
    assert!(header(&second, "ratelimit").starts_with("\"day\";r=10000;"), "{}", header(&second, "ratelimit"));
    reads(&portal, second).await;
    assert_eq!(asks(&ada, Method::HEAD, &url, None).await.status().as_u16(), 200, "something is left");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_has_every_place_waits_for_one(db: PgPool) {
    let settings = [("SLUICE_DOWNLOADS_AT_ONCE", "1".to_owned())];
    let portal = TestPortal::start_with(db, &settings).await;
    let large = vec![1u8; 60_000_000];
    let offer = portal.offers("lab/open", Gate::Open, &[("model.safetensors", &large)]).await;
    let url = offer.url("model.safetensors");
    let ada = portal.researcher("ada").await;
    let mut held = ada.request(Method::GET, &url).send().await.unwrap().bytes_stream();
    held.next().await.unwrap().unwrap();

    let waits = asks(&ada, Method::GET, &url, Some("bytes=0-9"));
    let frees = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        drop(held);
    };
    let (answer, ()) = tokio::join!(waits, frees);
    assert_eq!(answer.status().as_u16(), 206, "slowed, not refused");

    let mut held = ada.request(Method::GET, &url).send().await.unwrap().bytes_stream();
    held.next().await.unwrap().unwrap();
    let refused = asks(&ada, Method::GET, &url, Some("bytes=0-9")).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "5"));
    assert_eq!(asks(&ada, Method::HEAD, &url, None).await.status().as_u16(), 200, "asking about a file takes no place");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_ledger_is_filtered_summed_and_exported(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let one = portal.offers("lab/one", Gate::Open, &[("config.json", b"{\"a\":1}"), ("model.safetensors", &vec![7; LARGE])]).await;
    let two = portal.offers("lab/two", Gate::Open, &[("config.json", b"{}")]).await;
    let (ada, bob, root) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.admin("root").await);
    let curious = ada.request(Method::GET, &one.url("config.json")).header("user-agent", "=HYPERLINK(\"http://evil.example\")");
    reads(&portal, curious.send().await.unwrap()).await;
    reads(&portal, asks(&ada, Method::GET, &one.url("model.safetensors"), Some("bytes=0-999")).await).await;
    portal.wait(Duration::days(2));
    reads(&portal, asks(&ada, Method::GET, &two.url("config.json"), None).await).await;
    reads(&portal, asks(&bob, Method::GET, &two.url("config.json"), None).await).await;
    portal.writes_the_ledger().await;

    ada.get("/account/downloads").await.says("3 lines, 2 complete");
    ada.get("/account/downloads?model=LAB/one").await.says("2 lines, 1 complete");
    ada.get("/account/downloads?state=part").await.says("1 line, 0 complete");
    ada.get("/account/downloads?to=2026-03-02&who=bob").await.says("2 lines");
    ada.get("/account/downloads?model=nothing").await.says("No download matches");
    root.get("/admin/usage").await.says("4 of 2 accounts, 3 complete");
    root.get("/admin/usage?who=bob@").await.says("1 of 1 account,");
    root.get("/admin/usage?who=nobody").await.says("No download matches");

    let mine = ada.get("/account/downloads.csv?model=one").await;
    assert_eq!((mine.status, mine.header("content-type")), (200, "text/csv; charset=utf-8"));
    assert!(mine.header("content-disposition").contains("my-downloads.csv"));
    let lines: Vec<&str> = mine.text.lines().collect();
    assert_eq!(lines.len(), 3, "{}", mine.text);
    assert!(mine.text.contains(",\"'=HYPERLINK(\"\"http://evil.example\"\")\""), "{}", mine.text);
    assert!(!mine.text.contains("bob@"), "{}", mine.text);
    let all = root.get("/admin/usage.csv").await;
    assert_eq!(all.text.lines().count(), 5, "{}", all.text);
    assert!(all.text.contains("\"bob@university.edu\",\"lab/two\""), "{}", all.text);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_long_ledger_comes_in_pages_and_is_exported_whole(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/one", Gate::Open, &[("config.json", b"{}")]).await;
    let ada = portal.researcher("ada").await;
    sqlx::query(
        "insert into download (id, account_id, model_id, model_name, release_id, revision, path, day, size_bytes, sent_bytes, requests, started_at, last_at)
         select gen_random_uuid(), (select id from account where email = 'ada@university.edu'), $1, 'lab/one', r.id, r.revision, 'shard-' || n, '2026-03-01',
                10, 10, 1, '2026-03-01 08:00+00', '2026-03-01 08:00+00'::timestamptz + n * interval '1 second'
         from release r, generate_series(1, 2500) n where r.model_id = $1",
    )
    .bind(offer.model.uuid())
    .execute(&portal.portal.db)
    .await
    .unwrap();
    let first = ada.get("/account/downloads?model=lab").await;
    let next = first.says("2500 lines").says("shard-2500").text.split("href=\"/account/downloads?model=lab&#38;before=").nth(1);
    let next = next.unwrap_or_else(|| panic!("{}", first.text)).split('"').next().unwrap().to_owned();
    ada.get(&format!("/account/downloads?model=lab&before={next}")).await.says("shard-2450").says("2500 lines");
    let csv = ada.get("/account/downloads.csv").await;
    assert_eq!(csv.text.lines().count(), 2501, "every page of it");
    assert!(csv.text.contains("\"shard-1\"") && csv.text.contains("\"shard-2500\""));
}
