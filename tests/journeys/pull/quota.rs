//! A portal's limits are obeyed: a day's bytes that are used up end a pull till tomorrow, and places that are few make it narrow.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::Method;
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Puller, TestPortal, Trouble, Weather, Weights, noise};

use super::{CHUNK, publish};

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_day_that_is_used_up_ends_a_pull_at_once_and_the_next_day_it_goes_on(db: PgPool) {
    let portal = TestPortal::start_with(db, &[("SLUICE_DOWNLOAD_BYTES_A_DAY", "20000000".into())]).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let grace = portal.researcher("grace").await;
    let line = Weather::before(&portal.base, |_| None).await;
    let ada = Puller::new(&line.base).with_token(&grace.makes_token(&["download"]).await);
    let mut days = 0;
    loop {
        let begun = Instant::now();
        let ended = ada.pulls(&release.name, &["--jobs", "1"]).await;
        if ended.status == 0 {
            break;
        }
        ended.with(1, "all that an account may have in a day").with(1, "come back in 15 h").with(1, "What has arrived is kept");
        assert!(begun.elapsed() < Duration::from_secs(20), "it did not wait");
        // The same day again: nothing comes, and nothing is lost.
        let before = line.chunk_bytes();
        ada.pulls(&release.name, &[]).await.with(1, "come back in 15 h");
        assert!(line.chunk_bytes() - before < 10_000, "a refusal is short");
        portal.wait(time::Duration::days(1));
        days += 1;
        assert!(days < 5, "it does not come to an end");
    }
    assert_eq!(days, 1, "two chunks a day");
    release.is_whole_at(&ada);
    let came = line.chunk_bytes();
    assert!(came < release.bytes() + CHUNK as u64 / 2, "{came} bytes came, of {}: something came twice", release.bytes());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_pull_with_more_jobs_than_places_becomes_narrow_and_finishes(db: PgPool) {
    let portal = TestPortal::start_with(db, &[("SLUICE_DOWNLOADS_AT_ONCE", "2".into())]).await;
    let weights = Weights::of("preln-fp16-sharded");
    for number in 0..30 {
        weights.write(&format!("part-{number}.dat"), noise(number + 1, 100_000));
    }
    weights.write("large.dat", noise(99, 60_000_000));
    portal.publishes("acme/open", Gate::Open, &weights).await;
    let grace = portal.researcher("grace").await;
    let token = grace.makes_token(&["download"]).await;
    // One of the two places is taken by somebody who reads slowly on another machine.
    let large = grace.with_token(&token).request(Method::GET, "/acme/open/resolve/main/large.dat");
    let redirected = large.send().await.unwrap();
    let at = redirected.headers()["location"].to_str().unwrap().to_owned();
    let mut held = grace.with_token(&token).request(Method::GET, &at).send().await.unwrap().bytes_stream();
    held.next().await.unwrap().unwrap();

    let line = Weather::before(&portal.base, |asked| asked.is_chunk().then_some(Trouble::Delay(Duration::from_millis(150)))).await;
    let ada = Puller::new(&line.base).with_token(&token);
    ada.pulls("acme/open", &["--jobs", "8"]).await.well();
    ada.verifies().await.well();
    let parts: Vec<_> = line.asked().into_iter().filter(tests::Asked::is_chunk).collect();
    assert!(parts.len() > 30 && parts[7].beside > 2, "it began with as many as it was asked to");
    // By then refusals have told it how many places there are.
    let late = &parts[20..];
    assert!(late.iter().all(|asked| asked.beside < 2), "{:?}", late.iter().map(|asked| asked.beside).collect::<Vec<_>>());
}
