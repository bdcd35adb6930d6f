//! Whatever the network does, the bytes at the end are those that were published.

use std::time::{Duration, Instant};

use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Asked, Puller, TestPortal, Trouble, Weather};

use super::{CHUNK, NOISE, publish};

/// What goes wrong with the first request for each chunk, and never again.
fn once(trouble: Trouble) -> impl Fn(&Asked) -> Option<Trouble> + Send + Sync + 'static {
    move |asked| {
        let begins = asked.range.is_some_and(|(start, _)| start % CHUNK as u64 == 0);
        (begins && asked.again == 0).then(|| trouble.clone())
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn every_kind_of_bad_weather_is_come_through(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let page = std::sync::Arc::new(vec![b'x'; 2 * CHUNK]);
    for trouble in [
        Trouble::Delay(Duration::from_millis(200)),
        Trouble::Drop,
        Trouble::Cut(100_000),
        Trouble::Flip(12_345),
        Trouble::Status(500, None),
        Trouble::Status(503, Some(1)),
        Trouble::Status(429, Some(1)),
        Trouble::WrongRange,
        Trouble::Stale,
        Trouble::Whole,
        Trouble::Answer(200, "text/html", page.clone()),
        Trouble::Answer(206, "text/html", page),
        Trouble::Stall(70_000),
    ] {
        let weather = Weather::before(&portal.base, once(trouble.clone())).await;
        let ada = Puller::new(&weather.base);
        let pulled = ada.pulls(&release.name, &[]).await;
        assert_eq!(pulled.status, 0, "{trouble:?}: {}", pulled.said);
        release.is_whole_at(&ada);
        let asked = weather.asked().iter().filter(|asked| asked.is_chunk()).count();
        assert!(asked > release.chunks() || matches!(trouble, Trouble::Delay(_)), "{trouble:?} did not happen");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn pages_and_bundles_come_through_bad_weather_too(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let weather = Weather::before(&portal.base, |asked| {
        let troubles = [Trouble::Drop, Trouble::Cut(20), Trouble::Status(500, None), Trouble::Status(503, Some(0))];
        (!asked.is_chunk() && asked.again < 4).then(|| troubles[asked.again as usize].clone())
    })
    .await;
    let ada = Puller::new(&weather.base);
    ada.pulls(&release.name, &[]).await.well();
    release.is_whole_at(&ada);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_line_that_breaks_all_the_time_still_brings_everything_once(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let weather = Weather::before(&portal.base, |asked| asked.is_chunk().then_some(Trouble::Cut(3_000_000))).await;
    let ada = Puller::new(&weather.base);
    ada.pulls(&release.name, &[]).await.well();
    release.is_whole_at(&ada);
    let asked = weather.asked();
    let begins: Vec<_> = asked.iter().filter_map(|asked| Some((&asked.target, asked.range?.0))).collect();
    let distinct = begins.iter().collect::<std::collections::HashSet<_>>().len();
    assert_eq!(begins.len(), distinct, "what had come within a chunk was asked for again");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn bytes_that_stay_wrong_are_never_accepted_and_nothing_is_named(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let weather = Weather::before(&portal.base, |asked| asked.target.ends_with("noise-1.dat").then_some(Trouble::Flip(77))).await;
    let mut ada = Puller::new(&weather.base);
    ada.pulls(&release.name, &[]).await.with(3, "other bytes than were signed");
    assert!(!ada.folder().join("noise-1.dat").exists());
    ada.verifies().await.with(3, "is not what was published");
    // The same folder, in good weather; the key is known under the proxy's address only.
    ada.ask(&portal.base);
    ada.pulls(&release.name, &[]).await.well();
    release.is_whole_at(&ada);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_portal_that_is_busy_is_left_in_peace_for_as_long_as_it_asks(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let weather =
        Weather::before(&portal.base, |asked| (asked.is_chunk() && asked.again == 0).then_some(Trouble::Status(429, Some(2)))).await;
    let ada = Puller::new(&weather.base);
    let begun = Instant::now();
    ada.pulls(&release.name, &["--jobs", "16"]).await.well();
    assert!(begun.elapsed() >= Duration::from_secs(2));

    let weather = Weather::before(&portal.base, |asked| asked.is_chunk().then_some(Trouble::Status(429, Some(50_000)))).await;
    let ada = Puller::new(&weather.base);
    ada.pulls(&release.name, &[]).await.with(1, "come back in 14 h");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_token_is_for_the_portal_and_signed_urls_are_asked_for_anew(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/gated", Gate::Application).await;
    let grace = portal.researcher("grace").await;
    let token = grace.makes_token(&["download"]).await;
    super::access::grants(&portal, &grace).await;
    // A store under another host's name, whose URLs are refused the first time, as when they have expired.
    let secret = format!("Bearer {token}");
    let (base, shown) = (portal.base.clone(), token.clone());
    let store = Weather::before(&base, move |asked| (asked.again == 0).then_some(Trouble::Status(403, None))).await;
    let elsewhere = store.base.replace("127.0.0.1", "localhost");
    let front = Weather::before(&base, move |asked| {
        let path = asked.target.split_once("/resolve/")?.1.split_once('/')?.1.to_owned();
        asked.is_chunk().then(|| Trouble::Redirect(format!("{elsewhere}/acme/open-copy/resolve/main/{path}?signature=x")))
    })
    .await;
    // What the store gives to whoever has the URL: the same files, open to all.
    let copy = publish(&portal, "acme/open-copy", Gate::Open).await;
    assert_eq!(copy.revision, release.revision, "the same files are the same revision");
    let ada = Puller::new(&front.base).with_token(&shown);
    ada.pulls(&release.name, &["--jobs", "4"]).await.well();
    release.is_whole_at(&ada);
    assert!(front.asked().iter().all(|asked| asked.authorization.as_deref() == Some(secret.as_str())));
    assert!(!store.asked().is_empty() && store.asked().iter().all(|asked| asked.authorization.is_none()), "another host saw the token");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_mirror_needs_no_trust(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let files = format!("acme/open/resolve/{}", release.revision);
    let good = Weather::before(&portal.base, |_| None).await;
    let liar = Weather::before(&portal.base, |asked| asked.is_chunk().then_some(Trouble::Flip(9))).await;
    let empty = Weather::before(&portal.base, |_| Some(Trouble::Status(404, None))).await;
    let front = Weather::before(&portal.base, |_| None).await;

    let ada = Puller::new(&front.base);
    ada.pulls(&release.name, &["--mirror", &format!("{}/{files}/", good.base)]).await.well();
    release.is_whole_at(&ada);
    assert_eq!(front.chunk_bytes(), 0, "the portal sends nothing that a mirror has");

    let ada = Puller::new(&front.base).with_token("slc_secret");
    let mirrors = [&liar, &empty].map(|mirror| format!("{}/{files}", mirror.base));
    // A token that the portal does not know is refused where it counts; here the mirrors must not even see it.
    ada.pulls(&release.name, &["--mirror", &mirrors[0], "--mirror", &mirrors[1]]).await.with(4, "sluice login");
    let ada = Puller::new(&front.base);
    let pulled = ada.pulls(&release.name, &["--mirror", &mirrors[0], "--mirror", &mirrors[1]]).await;
    pulled.well().with(0, "is left alone: chunk").with(0, "is left alone");
    release.is_whole_at(&ada);
    for mirror in [&liar, &empty] {
        assert!(mirror.asked().iter().all(|asked| asked.authorization.is_none()));
    }
    let (path, _) = NOISE[0];
    assert!(front.asked().iter().any(|asked| asked.target.ends_with(path)), "the portal stands behind its mirrors");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_mirror_makes_nobody_wait_and_leads_nobody_back_to_the_portal_with_the_token(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/gated", Gate::Application).await;
    let grace = portal.researcher("grace").await;
    super::access::grants(&portal, &grace).await;
    let front = Weather::before(&portal.base, |_| None).await;
    let busy = Weather::before(&portal.base, |_| Some(Trouble::Status(429, Some(50_000)))).await;
    let slow = Weather::before(&portal.base, |asked| asked.is_chunk().then_some(Trouble::Trickle)).await;
    let files = format!("acme/gated/resolve/{}", release.revision);
    let back = format!("{}/{files}/config.json?led", front.base);
    let guide = Weather::before(&portal.base, move |_| Some(Trouble::Redirect(back.clone()))).await;
    let ada = Puller::new(&front.base).with_token(&grace.makes_token(&["download"]).await);
    let mirrors = [&busy, &guide].map(|mirror| format!("{}/{files}", mirror.base));
    ada.pulls(&release.name, &["--mirror", &mirrors[0], "--mirror", &mirrors[1]]).await.well();
    release.is_whole_at(&ada);
    // One that always sends a little is left alone, too. What it sends it has from an open model of the same files.
    let copy = publish(&portal, "acme/open", Gate::Open).await;
    let bob = Puller::new(&front.base);
    let begun = Instant::now();
    bob.pulls(&copy.name, &["--mirror", &format!("{}/acme/open/resolve/{}", slow.base, copy.revision)]).await.well();
    assert!(begun.elapsed() < Duration::from_secs(60));
    release.is_whole_at(&ada);
    let asked = front.asked();
    let led: Vec<_> = asked.iter().filter(|asked| asked.target.ends_with("?led")).collect();
    assert!(!led.is_empty() && led.iter().all(|asked| asked.authorization.is_none()), "a mirror chose what the token was shown for");
}

#[tokio::test]
async fn a_portal_that_says_now_again_and_again_is_given_up_and_its_words_are_only_words() {
    let now = Weather::before("127.0.0.1:1", |_| Some(Trouble::Status(503, Some(0)))).await;
    Puller::new(&now.base).pulls("acme/open", &[]).await.with(1, "gave up after 9 tries");
    let said = std::sync::Arc::new(br#"{"detail":"\u001b]0;owned\u0007gone"}"#.to_vec());
    let words = Weather::before("127.0.0.1:1", move |_| Some(Trouble::Answer(403, "application/json", said.clone()))).await;
    let refused = Puller::new(&words.base).pulls("acme/open", &[]).await;
    assert!(!refused.with(4, "owned").said.contains(['\u{1b}', '\u{7}']), "{:?}", refused.said);
}
