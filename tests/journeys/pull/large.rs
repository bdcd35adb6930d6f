//! A release of a thousand shards and 350 GB: listing it, planning it and going on with it cost what the list costs.

use server::catalog;
use sqlx::PgPool;
use tests::{Asked, Ended, LargeRelease, Puller, TestPortal, Weather};

use super::CHUNK;

const SHARDS: usize = 1_000;
const SHARD_BYTES: u64 = 350_000_000;

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_thousand_shards_are_listed_planned_and_gone_on_with_in_few_requests(db: PgPool) {
    let portal = TestPortal::start(db.clone()).await;
    let release = LargeRelease::offer(&mut db.acquire().await.unwrap(), "acme/large", SHARDS, SHARD_BYTES).await.unwrap();
    assert!(catalog::prove_next(&portal.portal, &mut Vec::new()).await.unwrap(), "it waits for its signature");
    let line = Weather::before(&portal.base, |_| None).await;
    let ada = Puller::new(&line.base);
    let foreseen = |ended: &Ended| -> [u64; 4] {
        let told: serde_json::Value = serde_json::from_str(&ended.well().out).unwrap();
        ["files", "files_to_fetch", "bytes_to_fetch", "files_to_read"].map(|field| told[field].as_u64().unwrap())
    };
    let nothing = ada.pulls("acme/large", &["--dry-run", "--json"]).await;
    assert_eq!(foreseen(&nothing), [1_000, 1_000, 350_000_000_000, 0]);

    let asked = line.asked();
    let is_page = |asked: &&Asked| asked.target.contains("/manifest.json");
    let pages: Vec<_> = asked.iter().filter(is_page).collect();
    assert!(asked.len() < pages.len() + 10 && asked.len() < 50, "{} requests, {} of them for pages", asked.len(), pages.len());
    for page in pages {
        let length = portal.visitor().fetch(&page.target).await.bytes.len();
        assert!(length < 200_000, "{length} bytes: {}", page.target);
    }

    // Nine tenths are complete, every other chunk of the rest is there: nothing of it is read, nothing asked for but the list.
    release.is_partly_at(&ada.folder(), 900).unwrap();
    let half = ada.pulls("acme/large", &["--dry-run", "--json"]).await;
    assert_eq!(foreseen(&half), [1_000, 100, 100 * 10 * CHUNK as u64, 0]);
    assert!(line.asked().len() <= 2 * asked.len());
}
