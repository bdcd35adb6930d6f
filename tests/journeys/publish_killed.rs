//! `kill -9` of a publication at random points: nothing of it is visible, it goes on where it stood, and what arrives is what was given.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use server::storage::PART_BYTES;
use tests::{Installation, ObjectStore, Weights, noise};

/// How often, in the short form. `make soak` sets SLUICE_SOAK_KILLS.
const KILLS: u64 = 4;
/// How far it goes on at most between two kills that wait for progress: half of that on average, so that a publication takes some ten kills.
const SPREAD_BYTES: u64 = 2 * PART_BYTES;
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

/// So many kills that hit, in as many publications as that takes. Half of them come when some bytes more are in the store, so that they are
/// spread over the files; the others at any time, so that what happens before and after the bytes is hit as well.
async fn survives_kills(place: &Installation, settings: &[(&'static str, String)]) {
    let kills = kills();
    let mut luck = noise(kills ^ 0x5eed, 4 * usize::try_from(kills).unwrap()).into_iter().map(|byte| f64::from(byte) / 256.0).cycle();
    let (mut hit, mut tries, mut round) = (0, 0, 0);
    while hit < kills {
        round += 1;
        let publication = Publication { place, settings, weights: several_parts(kills + round), model: format!("acme/tiny-{round}") };
        let (time, revision) = publication.without_a_kill();
        loop {
            let mut child = publication.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let chance = luck.next().unwrap();
            tries += 1;
            if tries % 2 == 1 {
                let goal = publication.stored_bytes().await + (SPREAD_BYTES as f64 * chance) as u64;
                while child.try_wait().unwrap().is_none() && publication.stored_bytes().await < goal {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } else {
                tokio::time::sleep(time.mul_f64(chance)).await;
            }
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
            }
            // Too late: it was done.
            if child.wait().unwrap().success() {
                break;
            }
            hit += 1;
            // Killed between its commit and its end, all of it is there; before, nothing.
            if publication.is_visible() {
                publication.arrived(&revision).await;
                break;
            }
            if hit == kills {
                break;
            }
        }
        let last = publication.command().output().unwrap();
        assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
        assert_eq!(String::from_utf8(last.stdout).unwrap().trim(), revision, "the same bytes as without a kill");
        publication.arrived(&revision).await;
    }
}

/// A model, with two files beside it that have several parts.
fn several_parts(seed: u64) -> Weights {
    let weights = Weights::of("preln-fp32");
    weights.write("long.dat", noise(2 * seed, 9 * PART_BYTES as usize + 1_234));
    weights.write("other.dat", noise(2 * seed + 1, 2 * PART_BYTES as usize + 5));
    weights
}

/// Weights that are published under a name.
struct Publication<'a> {
    place: &'a Installation,
    settings: &'a [(&'static str, String)],
    weights: Weights,
    model: String,
}

impl Publication<'_> {
    fn command(&self) -> Command {
        let mut command = self.place.sluice(&["publish", self.weights.path().to_str().unwrap(), &self.model, "--gate", "open"]);
        command.envs(self.settings.iter().cloned());
        command
    }

    /// How long it takes and what comes of it, without what it would leave behind: another folder of data, other keys of the bucket.
    fn without_a_kill(&self) -> (Duration, String) {
        let elsewhere = Installation::fresh();
        // Makes the database, so that this is no part of the time: most kills would come too late.
        elsewhere.run(&["key", "list"]);
        let other = self.settings.iter().map(|(name, value)| (*name, value.replace("/sluice", &format!("/elsewhere-{}", self.model))));
        let begun = Instant::now();
        let done = elsewhere.sluice(&["publish", self.weights.path().to_str().unwrap(), &self.model]).envs(other).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        (begun.elapsed(), String::from_utf8(done.stdout).unwrap().trim().to_owned())
    }

    /// How many bytes are in the store or on their way into it.
    async fn stored_bytes(&self) -> u64 {
        if self.settings.is_empty() {
            return bytes_below(&self.place.data().join("objects"));
        }
        let home = tempfile::tempdir().unwrap();
        let bucket = tests::bucket(self.settings, home.path());
        let objects = bucket.list().await.unwrap();
        objects.iter().map(|(_, size_bytes)| size_bytes).sum::<u64>() + bucket.uploading_bytes().await.unwrap()
    }

    /// Whether anything of the model is on offer. (Asked by a command, which may have to end the database of the one that was killed.)
    fn is_visible(&self) -> bool {
        let asked = self
            .place
            .sluice(&["generate", &self.model, "--prompt-ids", "2", "--max-tokens", "1"])
            .envs(self.settings.iter().cloned())
            .output();
        let output = asked.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || said.contains("model not found"), "{said}");
        output.status.success()
    }

    /// What was published comes out again.
    async fn arrived(&self, revision: &str) {
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let portal = self.place.serve_with(&settings).await;
        for path in ["long.dat", "other.dat", "model.safetensors"] {
            let answer = reqwest::get(format!("{}/{}/resolve/{revision}/{path}", portal.base, self.model)).await.unwrap();
            assert!(answer.status() == 200 && answer.bytes().await.unwrap() == self.weights.read(path), "{path}");
        }
    }
}

/// The bytes of all files in a folder and below, as far as they stay while they are counted.
fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter_map(|entry| {
            let found = entry.metadata().ok()?;
            Some(if found.is_dir() { bytes_below(&entry.path()) } else { found.len() })
        })
        .sum()
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
