//! What a connection does that sends files by itself: several answers in a row, a client that stops reading, a file that is not in memory,
//! one that is cut.

use std::time::{Duration as Wait, Instant};

use server::catalog::Gate;
use server::storage::ObjectKey;
use sqlx::PgPool;
use tests::{Offer, TestPortal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const WEIGHTS: &str = "model.safetensors";
/// More than the sockets' buffers take between a portal that sends and a client that does not read.
const SIZE: usize = 24_000_000;

fn weights() -> Vec<u8> {
    (0..SIZE as u64).map(|place| (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

async fn large(portal: &TestPortal, gate: Gate) -> (Offer, Vec<u8>) {
    let weights = weights();
    let files: [(&str, &[u8]); 3] = [("config.json", br#"{"model_type": "opt"}"#), ("empty.txt", b""), (WEIGHTS, &weights)];
    (portal.offers("acme/large", gate, &files).await, weights)
}

/// A connection on which requests are written and answers are read by hand.
struct Client(TcpStream);

impl Client {
    async fn of(portal: &TestPortal) -> Self {
        Self(TcpStream::connect(portal.base.trim_start_matches("http://")).await.unwrap())
    }

    async fn asks(&mut self, method: &str, path: &str, headers: &[&str]) {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        self.0.write_all(format!("{method} {path} HTTP/1.1\r\nHost: portal\r\n{headers}\r\n").as_bytes()).await.unwrap();
    }

    /// The next answer's head.
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).await.unwrap();
        bytes
    }
}

fn length(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    line.parse().unwrap()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn answers_come_whole_and_in_order_however_many_are_asked_for_at_once(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, weights) = large(&portal, Gate::Open).await;
    let (path, config, empty) = (offer.url(WEIGHTS), offer.url("config.json"), offer.url("empty.txt"));
    let mut client = Client::of(&portal).await;
    let from = SIZE - 5_000_000;
    // All are asked for before anything is read, so that each is written behind one that still waits for room.
    client.asks("GET", &path, &[]).await;
    client.asks("GET", &config, &[]).await;
    client.asks("GET", &path, &[&format!("Range: bytes={from}-")]).await;
    client.asks("GET", &empty, &[]).await;
    client.asks("GET", "/healthz", &[]).await;
    client.asks("GET", &path, &["Range: bytes=7-7"]).await;
    sleep(Wait::from_millis(200)).await;

    for (status, expected) in [("200", &weights[..]), ("200", br#"{"model_type": "opt"}"#), ("206", &weights[from..])] {
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && !head.contains("transfer-encoding"), "{head}");
        assert_eq!(length(&head), expected.len());
        assert!(client.bytes(expected.len()).await == expected);
    }
    assert_eq!(length(&client.head().await), 0);
    let health = client.head().await;
    client.bytes(length(&health)).await;
    let one = client.head().await;
    assert!(one.contains("content-range: bytes 7-7/24000000"), "{one}");
    assert_eq!(client.bytes(1).await, &weights[7..=7]);
    client.asks("HEAD", &path, &[]).await;
    assert_eq!(length(&client.head().await), SIZE);
    client.asks("GET", &config, &[]).await;
    assert_eq!(length(&client.head().await), 21, "behind the HEAD came nothing");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_is_told_to_close_is_sent_all_first(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, weights) = large(&portal, Gate::Open).await;
    let mut client = Client::of(&portal).await;
    client.asks("GET", &offer.url(WEIGHTS), &["Connection: close"]).await;
    client.head().await;
    let mut all = Vec::new();
    client.0.read_to_end(&mut all).await.unwrap();
    assert!(all == weights);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_is_on_the_disk_and_not_in_memory_is_sent_all_the_same(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, weights) = large(&portal, Gate::Open).await;
    let object = std::fs::File::open(object(&portal, &weights).await).unwrap();
    object.sync_all().unwrap();
    rustix::fs::fadvise(&object, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let mut client = Client::of(&portal).await;
    client.asks("GET", &offer.url(WEIGHTS), &["Range: bytes=3-"]).await;
    client.head().await;
    assert!(client.bytes(SIZE - 3).await == weights[3..]);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_file_cut_while_it_is_sent_is_a_broken_transfer(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, weights) = large(&portal, Gate::Open).await;
    let mut client = Client::of(&portal).await;
    client.asks("GET", &offer.url(WEIGHTS), &[]).await;
    client.head().await;
    let mut came = client.bytes(1_000_000).await;
    let object = std::fs::File::options().write(true).open(object(&portal, &weights).await).unwrap();
    object.set_len(SIZE as u64 - 1).unwrap();
    // The end may be a reset.
    let _ = timeout(Wait::from_secs(10), client.0.read_to_end(&mut came)).await.expect("it ends");
    assert!(came.len() < SIZE && weights.starts_with(&came), "{} bytes", came.len());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_head_has_nothing_behind_it_however_its_path_is_written(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, _) = large(&portal, Gate::Open).await;
    let mut client = Client::of(&portal).await;
    for path in [offer.url("config.json"), offer.url("config.json").replace("/resolve/", "/%72esolve/")] {
        client.asks("HEAD", &path, &[]).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200 ") && length(&head) == 21, "{head}");
    }
    client.asks("GET", "/healthz", &[]).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "), "the next answer begins where it should");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn small_answers_do_not_wait_for_one_another(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, _) = large(&portal, Gate::Open).await;
    let mut client = Client::of(&portal).await;
    let mut waits = Vec::new();
    for _ in 0..60 {
        let begun = Instant::now();
        client.asks("GET", &offer.url("config.json"), &[]).await;
        client.head().await;
        client.bytes(21).await;
        waits.push(begun.elapsed());
    }
    // A head and a file in two packets, of which the second waits until the first is confirmed, take 40 ms each time, once the
    // connection is no more new. On a busy machine some do anyway.
    assert!(*waits[30..].iter().min().unwrap() < Wait::from_millis(35), "{waits:?}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_is_refused_while_still_sending_hears_of_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let mut client = Client::of(&portal).await;
    client.asks("POST", "/v1/completions", &["Content-Type: application/json", "Content-Length: 30000000"]).await;
    // Far more than fits on the way: it is taken off the line, or writing ends in a reset.
    let sent = client.0.write_all(&vec![b' '; 30_000_000]).await;
    assert!(sent.is_ok(), "{sent:?}");
    assert!(client.head().await.starts_with("HTTP/1.1 401 "));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_closes_their_side_and_reads_nothing_holds_nothing(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, _) = large(&portal, Gate::Open).await;
    let mut client = Client::of(&portal).await;
    client.asks("GET", &offer.url(WEIGHTS), &[]).await;
    client.head().await;
    sleep(Wait::from_millis(200)).await;
    client.0.shutdown().await.unwrap();
    portal.downloads_end().await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn access_taken_back_ends_a_transfer_that_nobody_reads(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, weights) = large(&portal, Gate::Application).await;
    let ada = portal.researcher("ada").await;
    portal.grants(&offer, "ada@university.edu", 30).await;
    let token = ada.makes_token(&["download"]).await;
    let mut client = Client::of(&portal).await;
    client.asks("GET", &offer.url(WEIGHTS), &[&format!("Authorization: Bearer {token}")]).await;
    client.head().await;
    assert_eq!(portal.ledger.running(), 1);
    sleep(Wait::from_millis(200)).await;
    portal.revokes(&offer).await;
    portal.ledger.end_what_was_revoked(&portal.portal).await.unwrap();
    // Without a byte more being read: the connection is closed, and what it held is let go of.
    portal.downloads_end().await;
    let mut came = Vec::new();
    let _ = client.0.read_to_end(&mut came).await;
    assert!(came.len() < SIZE && weights.starts_with(&came), "{} bytes", came.len());
}

async fn object(portal: &TestPortal, weights: &[u8]) -> std::path::PathBuf {
    let key = ObjectKey::file(&server::integrity::sha256_hex(weights));
    portal.portal.objects.on_disk(&key, weights.len() as u64).await.unwrap()
}
