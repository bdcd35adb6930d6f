//! `kill -9` of a publication at random points: nothing of it is visible, it goes on where it stood, and what arrives is what was given.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use server::storage::PART_BYTES;
use tests::{Installation, ObjectStore, Weights, noise};

/// How often, in the short form. `make soak` sets SLUICE_SOAK_KILLS.
const KILLS: u64 = 4;
/// Parts of an object that are on their way at once (`storage/upload.rs`), and the piece that a copy is at (`catalog/copy.rs`).
const PARTS_IN_FLIGHT: u64 = 4;

#[tokio::test]
async fn into_a_folder() {
    survives_kills(&Installation::fresh(), &[]).await;
}

#[tokio::test]
async fn into_a_bucket() {
    let store = ObjectStore::start().await;
    survives_kills(&Installation::fresh(), &store.settings()).await;
}

async fn survives_kills(place: &Installation, settings: &[(&'static str, String)]) {
    let kills = kills();
    let weights = Weights::of("preln-fp32");
    let long = noise(kills, 9 * PART_BYTES as usize + 1_234);
    weights.write("long.dat", &long).write("other.dat", noise(kills + 1, 2 * PART_BYTES as usize + 5));
    let folder = weights.path().to_str().unwrap().to_owned();
    let publish = |arguments: &[&str]| {
        let mut command = place.sluice(&[&["publish", folder.as_str(), "acme/tiny", "--gate", "open"], arguments].concat());
        command.envs(settings.iter().cloned());
        command
    };
    // How long one takes, without what it would leave behind: another folder of data.
    let begun = Instant::now();
    let elsewhere = Installation::fresh();
    let other = settings.iter().map(|(name, value)| (*name, value.replace("/sluice", "/elsewhere")));
    let done = elsewhere.sluice(&["publish", folder.as_str(), "acme/tiny"]).envs(other).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (time, revision) = (begun.elapsed(), String::from_utf8(done.stdout).unwrap().trim().to_owned());

    let mut luck = noise(kills ^ 0x5eed, usize::try_from(8 * kills).unwrap()).into_iter();
    for _ in 0..kills {
        let mut child = publish(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let chance = u32::from(luck.next().unwrap()) * 256 + u32::from(luck.next().unwrap());
        tokio::time::sleep(time * chance / 65_536).await;
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
        }
        let ended = child.wait().unwrap();
        // Another that is killed may have to end the database of the one before: what it leaves is looked at through the portal's own eyes.
        if ended.success() {
            break;
        }
        // Killed between its commit and its end, all of it is there; before, nothing.
        if is_visible(place, settings).await {
            arrived(place, settings, &revision, &long, weights.path()).await;
            break;
        }
    }

    let last = publish(&["--json"]).output().unwrap();
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    let last: serde_json::Value = serde_json::from_slice(&last.stdout).unwrap();
    assert_eq!(last["revision"], revision.as_str(), "the same bytes as without a kill");
    arrived(place, settings, &revision, &long, weights.path()).await;
}

/// What was published comes out again.
async fn arrived(place: &Installation, settings: &[(&'static str, String)], revision: &str, long: &[u8], given: &Path) {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let portal = place.serve_with(&settings).await;
    for (path, bytes) in [("long.dat", long.to_vec()), ("model.safetensors", std::fs::read(given.join("model.safetensors")).unwrap())] {
        let answer = reqwest::get(format!("{}/acme/tiny/resolve/{revision}/{path}", portal.base)).await.unwrap();
        assert!(answer.status() == 200 && answer.bytes().await.unwrap() == bytes, "{path}");
    }
}

/// Whether anything of the model is on offer.
async fn is_visible(place: &Installation, settings: &[(&'static str, String)]) -> bool {
    let output = place.sluice(&["generate", "acme/tiny", "--prompt-ids", "2", "--max-tokens", "1"]).envs(settings.iter().cloned()).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || said.contains("model not found"), "{said}");
    output.status.success()
}

#[tokio::test]
async fn a_kill_costs_the_parts_on_their_way() {
    let store = ObjectStore::start().await;
    for settings in [vec![], store.settings()] {
        let place = Installation::fresh();
        let weights = Weights::of("preln-fp32");
        let size = 16 * PART_BYTES + 99;
        weights.write("long.dat", noise(11, usize::try_from(size).unwrap()));
        let folder = weights.path().to_str().unwrap().to_owned();
        let publish = || {
            let mut command = place.sluice(&["publish", &folder, "acme/tiny", "--json"]);
            command.envs(settings.iter().cloned());
            command
        };
        let mut child = publish().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let safe = until_half_way(&place, &settings, 4 * PART_BYTES).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let again: serde_json::Value = serde_json::from_slice(&publish().output().unwrap().stdout).unwrap();
        let (stored, small) = (again["stored_bytes"].as_u64().unwrap(), again["size_bytes"].as_u64().unwrap() - size);
        assert!(
            stored > 0 && stored <= small + size - safe + PARTS_IN_FLIGHT * PART_BYTES,
            "{safe} of {size} bytes were there, and {stored} were written again ({} of them small files)",
            small
        );
    }
}

/// Waits until so many bytes of the long file are in the store and says how many are.
async fn until_half_way(place: &Installation, settings: &[(&'static str, String)], bytes: u64) -> u64 {
    let asked = Instant::now();
    loop {
        let there = if settings.is_empty() {
            let staged = std::fs::read_dir(place.data().join("objects/staging")).into_iter().flatten();
            staged.filter_map(|entry| entry.ok()?.metadata().ok()).map(|found| found.len()).max().unwrap_or(0)
        } else {
            let home = tempfile::tempdir().unwrap();
            tests::bucket(settings, home.path()).uploading_bytes().await.unwrap()
        };
        if there >= bytes {
            return there / PART_BYTES * PART_BYTES;
        }
        assert!(asked.elapsed() < Duration::from_secs(60), "it never got there: {there} of {bytes}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a test is to take is told to the tests alone")]
fn kills() -> u64 {
    std::env::var("SLUICE_SOAK_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}
