//! What no release needs goes, what is needed stays, and what spoils is found.

use server::catalog::{self, Gate, Sweep};
use server::error::Error;
use server::storage::ObjectKey;
use sqlx::PgPool;
use tests::{Person, TestPortal, Weights};
use time::Duration;

const SWEEP: Sweep = Sweep { keep: Duration::days(7), delete: true, unrecorded: false };

/// Each story, told of a folder and of a bucket.
macro_rules! of_both_stores {
    ($($story:ident)*) => {
        mod folder {
            $(#[sqlx::test(migrator = "server::MIGRATOR")]
            async fn $story(db: sqlx::PgPool) {
                super::$story(&tests::TestPortal::start(db).await).await;
            })*
        }
        mod bucket {
            $(#[sqlx::test(migrator = "server::MIGRATOR")]
            async fn $story(db: sqlx::PgPool) {
                let store = tests::ObjectStore::start().await;
                super::$story(&tests::TestPortal::start_with(db, &store.settings()).await).await;
            })*
        }
    };
}

of_both_stores! {
    what_no_release_needs_is_removed_once_it_is_old_and_nothing_else_is
    what_is_not_on_record_goes_only_when_somebody_says_so
    nothing_is_removed_while_a_publication_runs_and_none_is_broken_by_it
    an_object_that_spoils_is_found_and_told
    publishing_a_good_copy_again_mends_what_spoilt
    what_spoilt_in_silence_is_written_anew_before_a_release_that_reuses_it_is_seen
    an_interrupted_scrub_goes_on_where_it_stood_and_keeps_its_pace
}

/// Puts an object into the store that is in no release.
async fn orphan(portal: &TestPortal, bytes: &[u8]) -> String {
    let offer = portal.offers("lab/gone", Gate::Open, &[("orphan", bytes)]).await;
    let db = &portal.portal.db;
    let sha256: String =
        sqlx::query_scalar("delete from release_file where path = 'orphan' returning object_sha256").fetch_one(db).await.unwrap();
    for sql in ["delete from release_name where model_id = $1", "delete from release where model_id = $1"] {
        sqlx::query(sql).bind(offer.model.uuid()).execute(db).await.unwrap();
    }
    sqlx::query("delete from model where id = $1").bind(offer.model.uuid()).execute(db).await.unwrap();
    sha256
}

async fn is_stored(portal: &TestPortal, sha256: &str) -> bool {
    portal.portal.objects.size(&ObjectKey::file(sha256)).await.unwrap().is_some()
}

async fn what_no_release_needs_is_removed_once_it_is_old_and_nothing_else_is(portal: &TestPortal) {
    portal.publishes("lab/tiny", Gate::Open, &Weights::of("preln-fp16-sharded")).await;
    let before = portal.stored("lab/tiny", "main").await;
    let sha256 = orphan(portal, b"left by a publication that failed").await;
    let sweep =
        async |sweep| catalog::collect(&portal.portal, sweep).await.unwrap().into_iter().map(|found| found.sha256).collect::<Vec<_>>();

    assert!(sweep(SWEEP).await.is_empty(), "it may be gone on with");
    portal.wait(Duration::days(8));
    assert_eq!(sweep(Sweep { delete: false, ..SWEEP }).await, std::slice::from_ref(&sha256));
    assert!(is_stored(portal, &sha256).await, "a dry run removes nothing");
    assert_eq!(sweep(SWEEP).await, std::slice::from_ref(&sha256));
    assert!(!is_stored(portal, &sha256).await);
    assert!(sweep(SWEEP).await.is_empty());
    assert_eq!(portal.stored("lab/tiny", "main").await, before);
}

async fn what_is_not_on_record_goes_only_when_somebody_says_so(portal: &TestPortal) {
    let sha256 = orphan(portal, b"stored, and killed before it was on record").await;
    sqlx::query("delete from object where sha256 = $1").bind(&sha256).execute(&portal.portal.db).await.unwrap();
    portal.wait(Duration::days(8));
    assert!(catalog::collect(&portal.portal, SWEEP).await.unwrap().is_empty());
    assert!(is_stored(portal, &sha256).await, "it may be another portal's");
    let told = catalog::collect(&portal.portal, Sweep { delete: false, ..SWEEP }).await.unwrap();
    assert_eq!((told.len(), told[0].is_on_record), (1, false));
    catalog::collect(&portal.portal, Sweep { unrecorded: true, ..SWEEP }).await.unwrap();
    assert!(!is_stored(portal, &sha256).await);
}

async fn nothing_is_removed_while_a_publication_runs_and_none_is_broken_by_it(portal: &TestPortal) {
    let weights = Weights::of("preln-fp16-sharded");
    portal.publishes("lab/tiny", Gate::Open, &weights).await;
    let sweeps = async {
        let (mut done, mut refused) = (0, 0);
        for _ in 0..40 {
            match catalog::collect(&portal.portal, Sweep { keep: Duration::ZERO, ..SWEEP }).await {
                Ok(_) => done += 1,
                Err(Error::Conflict(why)) => {
                    assert!(why.contains("publication"), "{why}");
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        done + refused
    };
    let publications = async {
        for number in 0..6 {
            weights.write("README.md", format!("# Tiny\n\nNumber {number}."));
            let release = portal.publishes("lab/tiny", Gate::Open, &weights).await;
            assert_eq!(portal.stored("lab/tiny", &release.revision).await.len(), release.files, "every file is there");
        }
    };
    assert_eq!(tokio::join!(sweeps, publications).0, 40);
}

async fn scrubs(portal: &TestPortal) -> (i64, i64) {
    let round = catalog::scrub(&portal.portal, 0, |_, _, _| ()).await.unwrap();
    (round.objects, round.faults)
}

async fn an_object_that_spoils_is_found_and_told(portal: &TestPortal) {
    let files: &[(&str, &[u8])] =
        &[("config.json", b"{}"), ("a.safetensors", &[1; 5_000]), ("b.safetensors", &[2; 5_000]), ("c.bin", b"c")];
    portal.offers("lab/tiny", Gate::Open, files).await;
    portal.wait(Duration::hours(1));
    let root = portal.admin("root").await;
    root.get("/admin/store").await.says("has never been checked");
    assert_eq!(scrubs(portal).await, (4, 0));

    let names: std::collections::BTreeMap<String, String> =
        sqlx::query_as::<_, (String, String)>("select path, object_sha256 from release_file")
            .fetch_all(&portal.portal.db)
            .await
            .unwrap()
            .into_iter()
            .collect();
    let mut flipped = vec![1; 5_000];
    flipped[4_000] ^= 1;
    portal.lays(&names["a.safetensors"], &flipped).await;
    portal.lays(&names["b.safetensors"], &[2; 4_999]).await;
    portal.portal.objects.remove(&ObjectKey::file(&names["c.bin"])).await.unwrap();
    portal.wait(Duration::days(30));
    assert_eq!(scrubs(portal).await, (4, 3));
    // A month later Root has to sign in anew; another admin looks.
    let page = portal.admin("ruth").await.get("/admin/store").await;
    for told in ["has the SHA-256", "another size", "is missing", "lab/tiny", "a.safetensors", "b.safetensors", "c.bin"] {
        page.says(told);
    }
    let metrics = portal.visitor().fetch("/metrics").await;
    metrics.says("sluice_store_faulty_objects 3\n").says("sluice_scrub_faults 3\n").says("sluice_scrub_checked_objects 4\n");

    portal.lays(&names["a.safetensors"], &[1; 5_000]).await;
    portal.wait(Duration::days(30));
    assert_eq!(scrubs(portal).await, (4, 2), "what was mended is good again");
}

async fn publishing_a_good_copy_again_mends_what_spoilt(portal: &TestPortal) {
    let weights = Weights::of("preln-fp32");
    let release = portal.publishes("lab/tiny", Gate::Open, &weights).await;
    let good = portal.stored("lab/tiny", &release.revision).await;
    let (sha256, path): (String, String) =
        sqlx::query_as("select object_sha256, path from release_file where path like '%.safetensors' limit 1")
            .fetch_one(&portal.portal.db)
            .await
            .unwrap();
    let mut flipped = good[&path].clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    portal.lays(&sha256, &flipped).await;
    portal.wait(Duration::hours(1));
    assert_eq!(scrubs(portal).await.1, 1);

    let again = portal.publishes("lab/tiny", Gate::Open, &weights).await;
    assert_eq!((again.is_new, &again.revision), (false, &release.revision));
    assert!(again.written_bytes >= flipped.len() as u64, "it was written anew");
    assert_eq!(portal.stored("lab/tiny", &release.revision).await, good);
    portal.wait(Duration::days(1));
    assert_eq!(scrubs(portal).await.1, 0);
}

async fn what_spoilt_in_silence_is_written_anew_before_a_release_that_reuses_it_is_seen(portal: &TestPortal) {
    let weights = Weights::of("preln-fp32");
    portal.publishes("lab/tiny", Gate::Open, &weights).await;
    let good = weights.read("model.safetensors");
    let mut flipped = good.clone();
    flipped[good.len() - 1] ^= 1;
    let sha256 = server::integrity::sha256_hex(&good);
    portal.wait(Duration::days(8));
    portal.lays(&sha256, &flipped).await;

    weights.write("README.md", "# Another release");
    let reused = portal.publishes("lab/tiny", Gate::Open, &weights).await;
    assert!(reused.is_new && reused.written_bytes >= good.len() as u64, "{} bytes were written", reused.written_bytes);
    let told = reused.notes.iter().find(|note| note.starts_with("model.safetensors: ")).unwrap();
    assert!(told.contains("has the SHA-256") && told.contains("written anew"), "{told}");
    assert_eq!(portal.stored("lab/tiny", &reused.revision).await["model.safetensors"], good);

    // Who has written or read it lately need not read it again; afterwards it is read, and that counts as well.
    let read = async || {
        let asked = sqlx::query_scalar::<_, Option<time::OffsetDateTime>>("select checked_at from object where sha256 = $1");
        asked.bind(&sha256).fetch_one(&portal.portal.db).await.unwrap()
    };
    for (days, is_read) in [(6, false), (2, true), (6, false), (2, true)] {
        portal.wait(Duration::days(days));
        let again = portal.publishes("lab/tiny", Gate::Open, &weights).await;
        assert_eq!((again.is_new, again.written_bytes), (false, 0));
        assert_eq!(read().await == Some(portal.portal.clock.now()), is_read);
    }
}

async fn an_interrupted_scrub_goes_on_where_it_stood_and_keeps_its_pace(portal: &TestPortal) {
    let contents: Vec<(String, Vec<u8>)> = (0..10u8).map(|n| (format!("{n}.bin"), vec![n; 20_000])).collect();
    let files: Vec<(&str, &[u8])> = contents.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    portal.offers("lab/tiny", Gate::Open, &files).await;
    portal.wait(Duration::hours(1));
    let mut read = Vec::new();
    let begun = std::time::Instant::now();
    // 200 kB at 200 kB/s take a second; it is given half of one.
    let cut = tokio::time::timeout(
        std::time::Duration::from_millis(500),
        catalog::scrub(&portal.portal, 200_000, |object, _, _| read.push(object.sha256.clone())),
    );
    assert!(cut.await.is_err(), "it was faster than it may be: {:?}", begun.elapsed());
    let first = read.len();
    assert!((1..10).contains(&first), "{first} read");
    // The lock goes with the connection, which is being closed.
    let mut round = Err(Error::NotFound("round"));
    for _ in 0..100 {
        round = catalog::scrub(&portal.portal, 0, |object, _, _| read.push(object.sha256.clone())).await;
        if round.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let round = round.unwrap();
    assert_eq!((round.objects, round.bytes, round.faults), (10, 200_000, 0));
    let told = read.len();
    read.sort();
    read.dedup();
    assert_eq!(read.len(), told, "one was read twice");
    // The cut may come after an object was written down and before it was told.
    assert!((9..=10).contains(&told), "{told} told");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn numbers_are_for_this_machine_and_for_admins(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/open", Gate::Open, &[("config.json", b"{\"a\":1}")]).await;
    let ada = portal.researcher("ada").await;
    ada.fetch(&offer.url("config.json")).await;
    let near = portal.visitor().fetch("/metrics").await;
    near.says("sluice_download_requests_total 1\n").says("sluice_build_info{version=\"");
    let far = async |person: &Person| {
        let request = person.request(reqwest::Method::GET, "/metrics").header("x-forwarded-for", "198.51.100.7");
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(far(&portal.visitor()).await, 404);
    assert_eq!(far(&ada).await, 404);
    let root = portal.admin("root").await;
    let program = root.with_token(&root.makes_token(&["api"]).await);
    assert_eq!((far(&root).await, far(&program).await), (200, 200));
}
