//! `kill -9` of a pull at any moment costs no more than the chunks that were on their way.

use std::time::Duration;

use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Asked, Puller, TestPortal, Trouble, Weather};

use super::bucket::Place;
use super::verify::soak;
use super::{CHUNK, Release, noise, publish};

/// Slowed down, so that there is a beginning and a middle to be killed in: now and then a part stands still when some of it has come.
fn slow(asked: &Asked) -> Option<Trouble> {
    let stands_still = asked.before % 4 == 3;
    asked.is_chunk().then_some(if stands_still { Trouble::Stall(3_000_000) } else { Trouble::Delay(Duration::from_millis(150)) })
}

/// Pulls a release again and again, each time onto a new machine, until so many pulls were killed; every one goes on to its end. `came`:
/// bytes of files that were sent so far. Says what was counted.
async fn kills_pulls(kills: usize, release: &Release, machine: impl Fn() -> Puller, came: impl Fn() -> u64) -> String {
    let random = noise(3, 8 * 64 * kills);
    let mut delays = random.chunks_exact(8).map(|eight| u64::from_le_bytes(eight.try_into().unwrap()) % 900);
    let (mut killed, mut whole, mut again) = (0, 0, 0);
    while killed < kills {
        let (ada, before) = (machine(), came());
        let (mut here, mut most) = (0, release.bytes());
        loop {
            let jobs = [1, 2, 8][(killed + here) % 3];
            let mut pull = ada.begins(&release.name, &["--jobs", &jobs.to_string()]);
            if killed + here < kills {
                tokio::time::sleep(Duration::from_millis(delays.next().unwrap())).await;
                if pull.try_wait().unwrap().is_none() {
                    pull.kill().unwrap();
                    pull.wait().unwrap();
                    here += 1;
                    most += (jobs * CHUNK) as u64;
                    // Nothing has its name before it is what was published.
                    for (path, bytes) in &release.files {
                        let at = ada.folder().join(path);
                        assert!(!at.exists() || std::fs::read(&at).unwrap() == *bytes, "{path} was named too early");
                    }
                    continue;
                }
            }
            Puller::ends(pull).await.well();
            break;
        }
        release.is_whole_at(&ada);
        ada.verifies().await.well();
        let fetched = came() - before;
        assert!(fetched <= most, "{fetched} bytes came, {most} would be right after {here} kills");
        again += fetched.saturating_sub(release.bytes());
        whole += 1;
        killed += here;
    }
    format!("{killed} kills over {whole} pulls of {} bytes each: whole every time, {again} bytes fetched again", release.bytes())
}

/// In the short form; `make soak` kills a hundred times.
#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_pull_that_is_killed_goes_on_where_it_was(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let weather = Weather::before(&portal.base, slow).await;
    let machine = || Puller::new(&weather.base);
    let told = kills_pulls(soak("SLUICE_SOAK_KILLS", 6), &release, machine, || weather.chunk_bytes()).await;
    println!("from the portal's folder: {told}");
}

/// In the short form; `make soak` kills a hundred times.
#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_pull_from_a_bucket_that_is_killed_goes_on_where_it_was(db: PgPool) {
    let place = Place::with(db, slow).await;
    let machine = || Puller::new(&place.portal.base).with_token(&place.token);
    let told = kills_pulls(soak("SLUICE_SOAK_KILLS", 3), &place.release, machine, || place.bucket.chunk_bytes()).await;
    println!("by signed addresses from the bucket: {told}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_spoilt_journal_or_partial_file_costs_only_what_was_spoilt(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let path = "noise-1.dat";
    let (begun, journal) = {
        // Everything but the last chunk of one file, which never comes.
        let last = (2 * CHUNK) as u64;
        let weather =
            Weather::before(&portal.base, move |asked| asked.range.filter(|(start, _)| *start == last).map(|_| Trouble::Status(403, None)))
                .await;
        let ada = Puller::new(&weather.base);
        ada.pulls(&release.name, &["--jobs", "1"]).await.with(4, "");
        let journal = std::fs::read(ada.folder().join(".sluice/journal")).unwrap();
        (ada, journal)
    };
    let partial = begun.folder().join(format!("{path}.sluice-part"));
    let half = std::fs::read(&partial).unwrap();
    assert!(half[..2 * CHUNK] == release.files[path][..2 * CHUNK]);

    let mut begun = begun;
    // What may happen to a disk between two runs; then how many chunks, beside the short one that never came, may have to come again.
    let mut spoilt = half.clone();
    spoilt[CHUNK + 9] ^= 1;
    for (partial_bytes, journal_bytes, chunks) in [
        (&half[..], &journal[..], 0),
        (&half[..], &journal[..journal.len() - 3], 1),
        (&half[..], &b""[..], 0),
        (&half[..], &b"not a journal at all, but some text of about the same length"[..], 0),
        (&spoilt[..], &journal[..], 1),
        (&spoilt[..], &b""[..], 1),
        (&half[..CHUNK + 1], &journal[..], 1),
    ] {
        for name in release.files.keys() {
            let _ = std::fs::remove_file(begun.folder().join(name));
        }
        // Written in place: the same inode, as after a crash.
        std::fs::write(&partial, partial_bytes).unwrap();
        std::fs::write(begun.folder().join(".sluice/journal"), journal_bytes).unwrap();
        let weather = Weather::before(&portal.base, |_| None).await;
        begun.ask(&weather.base);
        begun.pulls(&release.name, &["--include", path]).await.well();
        assert!(begun.read(path) == release.files[path]);
        let (came, most) = (weather.chunk_bytes(), (chunks * CHUNK + 77) as u64);
        assert!((77..=most).contains(&came), "{came} bytes came where {most} may");
    }
}
