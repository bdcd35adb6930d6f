//! What changed in a folder is named, and mended by what it costs.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use server::catalog::{self, Gate};
use server::client::{self, Fault, Meter};
use sqlx::PgPool;
use tests::{Puller, TestPortal, Weather, Weights};
use time::Duration;

use super::{CHUNK, noise, publish};

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn every_difference_is_named_and_one_bad_chunk_costs_one_chunk(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let weather = Weather::before(&portal.base, |_| None).await;
    let ada = Puller::new(&weather.base);
    ada.pulls(&release.name, &[]).await.well();
    ada.verifies().await.well();

    let at = |path: &str| ada.folder().join(path);
    fs::File::options().write(true).open(at("noise-1.dat")).unwrap().write_all_at(b"!", CHUNK as u64 + 5).unwrap();
    fs::write(at("deep/er/extra.bin"), b"mine").unwrap();
    fs::remove_file(at("config.json")).unwrap();
    let found = ada.verifies().await;
    found.with(3, "1 file differs, 1 missing, 1 extra");
    let lines: Vec<&str> = found.out.lines().collect();
    assert_eq!(lines, ["differs  noise-1.dat: chunk 1", "missing  config.json", "extra    deep/er/extra.bin"]);

    // Without --repair a pull keeps its hands off a file that somebody has changed.
    ada.pulls(&release.name, &[]).await.with(3, "noise-1.dat: 1 of 3 chunks differ").with(3, "--repair");
    let before = weather.chunk_bytes();
    ada.pulls(&release.name, &["--repair"]).await.well();
    release.is_whole_at(&ada);
    let cost = weather.chunk_bytes() - before;
    assert_eq!(cost, (CHUNK + release.files["config.json"].len()) as u64, "one chunk and one small file");
    fs::remove_file(at("deep/er/extra.bin")).unwrap();
    ada.verifies().await.well();

    // Cut short, grown, emptied.
    for length in [CHUNK as u64 + 3, 3 * CHUNK as u64, 0] {
        fs::File::options().write(true).open(at("noise-1.dat")).unwrap().set_len(length).unwrap();
        let found = ada.verifies().await;
        found.with(3, "1 file differs");
        assert!(found.out.contains(&format!("noise-1.dat ({length} bytes instead of")), "{}", found.out);
        ada.pulls(&release.name, &["--repair"]).await.well();
        release.is_whole_at(&ada);
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn verifying_needs_a_key_that_did_not_come_with_the_files(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let ada = Puller::new(&portal.base);
    ada.pulls(&release.name, &[]).await.well();
    // The folder on another machine, which has never met the portal.
    let bob = Puller::new("http://nowhere.invalid");
    let folder = ada.folder();
    let folder = folder.to_str().unwrap();
    bob.runs(&["verify", folder]).await.with(2, "--key FILE");
    let key = portal.visitor().fetch("/.well-known/sluice-key.pem").await.text;
    fs::write(bob.home().join("key.pem"), key).unwrap();
    bob.runs(&["verify", folder, "--key", "key.pem"]).await.well();
    let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n";
    fs::write(bob.home().join("other.pem"), pem).unwrap();
    bob.runs(&["verify", folder, "--key", "other.pem"]).await.with(3, "another key");
    bob.runs(&["verify", folder, "--key", "nowhere.pem"]).await.with(2, "cannot be read");
    bob.runs(&["verify", bob.home().to_str().unwrap()]).await.with(2, "was not pulled by sluice");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_link_in_the_place_of_a_file_is_no_file_whatever_it_leads_to(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let ada = Puller::new(&portal.base);
    ada.pulls(&release.name, &[]).await.well();
    // Away with a file and with a folder, and links to where they are now: whoever follows them reads the right bytes.
    let at = |path: &str| ada.folder().join(path);
    let elsewhere = ada.home().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for path in ["config.json", "deep"] {
        fs::rename(at(path), elsewhere.join(path)).unwrap();
        symlink(elsewhere.join(path), at(path)).unwrap();
    }
    fs::remove_file(at("empty.txt")).unwrap();
    fs::create_dir(at("empty.txt")).unwrap();
    let found = ada.verifies().await;
    found.with(3, "3 files differ, 0 missing");
    for line in [
        "differs  config.json: config.json is a link, which is not followed",
        "differs  deep/er/noise-2.dat: deep is a link, which is not followed",
        "differs  empty.txt: empty.txt is no file",
    ] {
        assert!(found.out.lines().any(|said| said == line), "{line:?} is not in {}", found.out);
    }
    let json = ada.runs(&["verify", at("").to_str().unwrap(), "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["differing"][0]["in_the_way"], serde_json::json!({ "path": "config.json", "what": "link" }));

    ada.pulls(&release.name, &[]).await.with(1, "is a link");
    ada.pulls(&release.name, &["--repair"]).await.with(1, "is in the way");
    fs::remove_dir(at("empty.txt")).unwrap();
    ada.pulls(&release.name, &["--repair", "--dry-run"]).await.well().with(0, "");
    assert!(at("config.json").is_symlink(), "a dry run changes nothing");
    // Half a file on its way is one of the names that could lead elsewhere, too.
    fs::write(ada.home().join("mine"), "mine").unwrap();
    symlink(ada.home().join("mine"), at("config.json.sluice-part")).unwrap();
    ada.pulls(&release.name, &["--repair"]).await.well();
    release.is_whole_at(&ada);
    assert!(!at("config.json").is_symlink() && !at("deep").is_symlink());
    assert!(fs::read(elsewhere.join("config.json")).unwrap() == release.files["config.json"], "what it led to is as it was");
    assert!(fs::read(elsewhere.join("deep/er/noise-2.dat")).unwrap() == release.files["deep/er/noise-2.dat"]);
    assert_eq!(fs::read(ada.home().join("mine")).unwrap(), b"mine");
    ada.verifies().await.well();
}

/// What a flipped bit is counted under.
fn kind_of(path: &Path) -> &'static str {
    match path.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
        "manifest.json" => "of the manifest",
        "release.json" => "of what the folder says of itself",
        "keys.json" => "of what vouches for the key",
        name if name.ends_with(".sig") => "of signatures",
        name if name.ends_with(".safetensors") => "of weights",
        _ => "of documents",
    }
}

/// Which bytes of a file count: all, but of the list of keys only the statement in which the first vouches for the second. What else the
/// list says, nobody reads who verifies.
fn counting(path: &Path, bytes: &[u8]) -> Range<usize> {
    if !path.ends_with("keys.json") {
        return 0..bytes.len();
    }
    let text = std::str::from_utf8(bytes).unwrap();
    let start = text.find("\"succession\": {").unwrap();
    start..start + text[start..].find("\n    }").unwrap()
}

/// In the short form; `make soak` flips ten thousand. Every one of them has to be refused: no file is left out but those that make a pull
/// go on (journal and lock).
#[sqlx::test(migrator = "server::MIGRATOR")]
async fn no_flipped_bit_is_accepted(db: PgPool) {
    let flips: usize = soak("SLUICE_SOAK_FLIPS", 300);
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp16-sharded");
    weights.write("notes.txt", noise(5, 3_000));
    portal.publishes("acme/small", Gate::Open, &weights).await;
    let ada = Puller::new(&portal.base);
    ada.pulls("acme/small", &[]).await.well();
    // Who verifies remembers the key from before a rotation, so that what vouches for the new one is needed, too.
    let config = ada.home().join("before");
    fs::create_dir(&config).unwrap();
    fs::copy(ada.home().join(".config/sluice/known-keys.json"), config.join("known-keys.json")).unwrap();
    catalog::rotate_key(&portal.portal, Duration::days(1)).await.unwrap();
    ada.pulls("acme/small", &[]).await.well();
    let verify = || client::verify(&ada.folder(), None, &config, &Meter::default());
    assert!(verify().unwrap().is_clean());

    let within = |folder: &Path| -> Vec<PathBuf> { fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect() };
    let unsigned = ["journal", "lock"].map(|name| ada.folder().join(".sluice").join(name));
    let mut files: Vec<_> = [within(&ada.folder()), within(&ada.folder().join(".sluice"))].concat();
    files.retain(|path| fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0) && !unsigned.contains(path));
    files.sort();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let random = noise(11, flips * 8);
    for (number, eight) in random.chunks_exact(8).enumerate() {
        let path = &files[number % files.len()];
        let whole = fs::read(path).unwrap();
        let bytes = counting(path, &whole);
        let bit = bytes.start * 8 + usize::try_from(u64::from_le_bytes(eight.try_into().unwrap()) % (bytes.len() as u64 * 8)).unwrap();
        let mut spoilt = whole.clone();
        spoilt[bit / 8] ^= 1 << (bit % 8);
        fs::write(path, &spoilt).unwrap();
        let found = verify();
        assert!(!found.as_ref().is_ok_and(client::Findings::is_clean), "bit {bit} of {}", path.display());
        if path.to_str().unwrap().ends_with(".sig") {
            assert!(matches!(&found, Err(Fault::Mismatch(_) | Fault::Failed(_))), "bit {bit} of {}: {found:?}", path.display());
        }
        fs::write(path, &whole).unwrap();
        *counts.entry(kind_of(path)).or_default() += 1;
    }
    assert!(verify().unwrap().is_clean());
    assert_eq!((counts.len(), counts.values().sum::<usize>()), (6, flips));
    let kinds: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    println!("{flips} flipped bits, none accepted: {}", kinds.join(", "));
}

/// A number that `make soak` makes larger.
pub(crate) fn soak(variable: &str, short: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(short)
}
