//! A mirror that is behind: all it sends is complete, well formed and of the release before.

use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Puller, TestPortal, Weather, Weights, noise};

use super::{NOISE, Release, publish};

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_mirror_that_still_has_the_release_before_is_named_and_its_bytes_count_for_nothing(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let old = publish(&portal, "acme/open", Gate::Open).await;
    // One file has other bytes and its old length, one has grown, one is new; the others are what they were.
    let (changed, length) = NOISE[0];
    let weights = Weights::of("preln-fp16-sharded");
    for (path, bytes) in &old.files {
        weights.write(path, bytes);
    }
    weights.write(changed, noise(71, length)).write("deep/er/noise-2.dat", noise(72, NOISE[1].1 + 1_000)).write("new.txt", "new");
    let revision = portal.publishes(&old.name, Gate::Open, &weights).await.revision;
    let files = portal.stored(&old.name, &revision).await;
    let new = Release { name: old.name.clone(), revision, files };

    let front = Weather::before(&portal.base, |_| None).await;
    let fresh = Weather::before(&portal.base, |_| None).await;
    let of_new = format!("{}/acme/open/resolve/{}", fresh.base, new.revision);
    for others in [&[][..], &["--mirror", &of_new]] {
        let behind = Weather::before(&portal.base, |_| None).await;
        let of_old = format!("{}/acme/open/resolve/{}", behind.base, old.revision);
        let ada = Puller::new(&front.base);
        let pulled = ada.pulls(&new.name, &[&["--jobs", "1", "--mirror", &of_old], others].concat()).await;
        let named = format!("The mirror {of_old} is left alone: chunk ");
        pulled.well().with(0, &named).with(0, &format!("of {changed} came with other bytes than were signed"));
        assert!(!pulled.said.contains(&format!("The mirror {of_new}")), "{}", pulled.said);
        new.is_whole_at(&ada);
        ada.verifies().await.well();
        let asked = behind.asked();
        let of_changed: Vec<_> = asked.iter().filter(|asked| asked.target.ends_with(changed)).collect();
        assert_eq!(of_changed.len(), 1, "it sent a whole chunk of the release before, and was asked no more");
        assert!(asked.len() > 2, "what is in both releases may come from it");
    }
    let behind_them = front.asked().iter().filter(|asked| asked.is_chunk()).count();
    assert!(behind_them > 0, "the portal stands behind its mirrors");
    assert!(fresh.chunk_bytes() > 0);

    // Nothing but what is behind: a pull in which the portal sends no bytes ends, and names nothing.
    let shut = Weather::before(&portal.base, |asked| asked.is_chunk().then_some(tests::Trouble::Status(403, None))).await;
    let bob = Puller::new(&shut.base);
    let of_old = format!("{}/acme/open/resolve/{}", fresh.base, old.revision);
    bob.pulls(&new.name, &["--mirror", &of_old, "--include", changed]).await.with(4, "").with(4, "is left alone");
    assert!(!bob.folder().join(changed).exists());
}
