//! `kill -9` of a publication at random points: nothing of it is visible, it goes on where it stood, and what arrives is what was given.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use server::storage::PART_BYTES;
use tests::{Installation, ObjectStore, Weather, Weights, noise};

/// How often, in the short form. `make soak` sets SLUICE_SOAK_KILLS.
const KILLS: u64 = 4;
/// How far it goes on at most between two kills that wait for progress: half of that on average, so that a publication takes some ten kills.
const SPREAD_BYTES: u64 = 2 * PART_BYTES;
/// Parts of an object that are on their way into a bucket at once (`storage/upload.rs`).
const PARTS_IN_FLIGHT: u64 = 4;
/// Into a folder it is the one piece that a copy is at, as long as a part (`catalog/copy.rs`).
const PIECES_IN_FLIGHT: u64 = 1;
/// What a try writes beside the large files, at most: the small files of the model again, and what it tells the database.
const BESIDE_BYTES: u64 = 2 << 20;

#[tokio::test]
async fn into_a_folder() {
    let told = survives_kills(&Installation::fresh(), &[], None).await;
    println!("into a folder: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn into_a_bucket() {
    let store = ObjectStore::start().await;
    // Good weather: it stands there to count.
    let way = Weather::before(&store.endpoint(), |_| None).await;
    let address = way.base.replace("127.0.0.1", "localhost");
    let settings = store.settings_but(&[("AWS_ENDPOINT_URL", &address)]);
    let told = survives_kills(&Installation::fresh(), &settings, Some(&way)).await;
    println!("into a bucket: {told}");
}

/// So many kills that hit, in as many publications as that takes. Half of them come when some bytes more are in the store, so that they are
/// spread over the files; the others at any time, so that what happens before and after the bytes is hit as well. Says what was counted.
async fn survives_kills(place: &Installation, settings: &[(&'static str, String)], way: Option<&Weather>) -> String {
    let kills = kills();
    let in_flight = if way.is_some() { PARTS_IN_FLIGHT } else { PIECES_IN_FLIGHT } * PART_BYTES;
    // The database is made here: what that writes would count as the first publication's.
    place.run(&["key", "list"]);
    let mut luck = noise(kills ^ 0x5eed, 4 * usize::try_from(kills).unwrap()).into_iter().map(|byte| f64::from(byte) / 256.0).cycle();
    let (mut hit, mut tries, mut round, mut again_bytes) = (0, 0, 0, 0);
    while hit < kills {
        round += 1;
        let publication = Publication { place, settings, weights: several_parts(kills + round), model: format!("acme/tiny-{round}") };
        let (time, revision) = publication.without_a_kill();
        let mut sent = Sent { way, before: way.map_or(0, Weather::sent_bytes), written: 0 };
        let (there, mut kills_here) = (publication.stored_bytes().await, 0);
        loop {
            let mut child = publication.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let chance = luck.next().unwrap();
            tries += 1;
            if tries % 2 == 1 {
                let goal = publication.stored_bytes().await + (SPREAD_BYTES as f64 * chance) as u64;
                while has_not_ended(&child) && publication.stored_bytes().await < goal {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } else {
                tokio::time::sleep(time.mul_f64(chance)).await;
            }
            child.kill().unwrap();
            // Until it is waited for, its numbers can be read.
            while has_not_ended(&child) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let written = written_by(&child);
            let ended = child.wait_with_output().unwrap();
            // Too late: it was done.
            if ended.status.success() {
                sent.written += stored_bytes(&ended.stdout);
                break;
            }
            sent.written += written;
            hit += 1;
            kills_here += 1;
            let (sent, safe) = (sent.bytes(), publication.stored_bytes().await - there);
            let most = safe + kills_here * (in_flight + BESIDE_BYTES);
            assert!(sent <= most, "{sent} bytes were sent in {kills_here} kills, and {safe} are there");
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
        let told: serde_json::Value = serde_json::from_slice(&last.stdout).unwrap();
        assert_eq!(told["revision"], revision, "the same bytes as without a kill");
        sent.written += stored_bytes(&last.stdout);
        let (sent, size) = (sent.bytes(), told["size_bytes"].as_u64().unwrap());
        let most = size + kills_here * in_flight + (kills_here + 2) * BESIDE_BYTES;
        assert!(sent <= most, "{sent} bytes were sent for {size}, {most} would be right after {kills_here} kills");
        again_bytes += sent.saturating_sub(size);
        publication.arrived(&revision).await;
    }
    format!("{hit} kills over {round} publications: whole every time, {again_bytes} bytes sent again")
}

/// What the tries of one publication have sent to the store.
struct Sent<'a> {
    /// What stands before a bucket and counts.
    way: Option<&'a Weather>,
    /// What it had counted before.
    before: u64,
    /// Into a folder: what the processes wrote, as the system counts it of one that is killed, and one that is not says it.
    written: u64,
}

impl Sent<'_> {
    fn bytes(&self) -> u64 {
        self.way.map_or(self.written, |way| way.sent_bytes() - self.before)
    }
}

/// What a process wrote, which has ended and was not waited for. (What its children wrote is added only when it waits for them.)
fn written_by(child: &Child) -> u64 {
    let numbers = std::fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    numbers.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

/// What a publication says that it wrote.
fn stored_bytes(stdout: &[u8]) -> u64 {
    let told: serde_json::Value = serde_json::from_slice(stdout).unwrap();
    told["stored_bytes"].as_u64().unwrap()
}

/// Whether it still runs; one that has ended stays to be waited for.
fn has_not_ended(child: &Child) -> bool {
    let told = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    !told.rsplit(')').next().unwrap().trim_start().starts_with(['Z', 'X'])
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
        let mut command = self.place.sluice(&["publish", self.weights.path().to_str().unwrap(), &self.model, "--gate", "open", "--json"]);
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
