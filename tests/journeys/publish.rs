//! A folder of weights becomes a release, or is told why not.

use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use server::catalog::{self, Gate, Outcome};
use server::error::Error;
use server::storage::PART_BYTES;
use sha2::Digest;
use sqlx::PgPool;
use tests::{Installation, Puller, TestPortal, Weights};

fn published(outcome: Outcome) -> catalog::Published {
    match outcome {
        Outcome::Published(published) => published,
        Outcome::Unfit(faults) => panic!("not fit: {faults:?}"),
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_fit_folder_becomes_a_release_with_the_right_digests(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp16-sharded");
    weights.write("README.md", "---\nlicense: other\n---\n# Tiny\n\nA tiny model.").write("LICENSE.md", "# Terms\n\nBe kind.");
    weights.write(".gitattributes", "hidden").write("sub/notes.txt", "deep");
    let release = portal.publishes("acme/tiny", Gate::Application, &weights).await;

    assert!(release.is_new && release.revision.len() == 40);
    assert!(release.notes.iter().any(|note| note.starts_with(".gitattributes")), "{:?}", release.notes);
    let mut db = portal.portal.db.acquire().await.unwrap();
    let model = catalog::find_model(&mut db, "ACME", "tiny").await.unwrap().unwrap();
    assert_eq!((model.full_name().as_str(), model.gate, model.summary.as_str()), ("acme/tiny", Gate::Application, "A tiny model."));
    let licence = catalog::licence(&mut db, model.licence_sha256.as_deref().unwrap()).await.unwrap().unwrap();
    assert_eq!((licence.name.as_str(), licence.body.as_str()), ("Terms", "# Terms\n\nBe kind."));

    let main = catalog::resolve(&mut db, model.id, "main").await.unwrap().unwrap();
    assert_eq!(main.revision, release.revision);
    assert_eq!(main.config_json.unwrap()["model_type"], "opt");
    let files = catalog::files(&mut db, main.id).await.unwrap();
    assert!(files.iter().all(|file| !file.path.contains(".git")));
    for file in &files {
        let bytes = weights.read(&file.path);
        assert_eq!(file.size_bytes, i64::try_from(bytes.len()).unwrap());
        assert_eq!(file.blake3, blake3::hash(&bytes).to_hex().to_string());
        assert_eq!(file.sha256, sha256(&bytes));
        assert_eq!(file.is_lfs, file.path.ends_with(".safetensors"));
    }
    assert_eq!(files.len(), release.files);
    let record =
        server::audit::page(&mut db, &server::audit::Filter { subjects: Some(vec![model.id.to_string()]), ..Default::default() }, 10).await;
    let kinds: Vec<String> = record.unwrap().into_iter().map(|row| row.kind).collect();
    assert_eq!(kinds, ["release.named", "release.published", "model.offered"]);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn pickled_weights_are_rewritten_and_the_pickle_stays_at_home(db: PgPool) {
    let portal = TestPortal::start(db).await;
    for fixture in ["preln-fp16-bin-sharded", "postln-proj-fp16-bin"] {
        let weights = Weights::of(fixture);
        weights.write("training_args.bin", "a pickle of somebody's settings").write("tf_model.h5", "weights of another framework");
        let name = format!("acme/{fixture}");
        let release = portal.publishes(&name, Gate::Open, &weights).await;
        let stored = portal.stored(&name, "main").await;
        assert_eq!(stored.keys().collect::<Vec<_>>(), ["config.json", "generation_config.json", "model.safetensors"]);
        assert!(release.notes.iter().any(|note| note.contains("pytorch_model") && note.contains("safetensors")), "{:?}", release.notes);
        assert!(release.notes.iter().any(|note| note.starts_with("training_args.bin")), "{:?}", release.notes);

        let again = portal.publishes(&name, Gate::Open, &weights).await;
        assert_eq!((again.revision, again.is_new, again.written_bytes), (release.revision, false, 0), "converting is repeatable");
    }
    for digest in portal.objects().await {
        let path = portal.portal.objects.on_disk(&server::storage::ObjectKey::file(&digest), 0).await.unwrap();
        let bytes = fs::read(path).unwrap();
        assert!(!bytes.starts_with(b"PK") && !bytes.starts_with(&[0x80]) && !bytes.starts_with(b"a pickle"), "a pickle was stored");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn converted_weights_are_those_of_the_same_model_in_safetensors(db: PgPool) {
    let portal = TestPortal::start(db).await;
    portal.publishes("acme/tiny", Gate::Open, &Weights::of("postln-proj-fp16-bin")).await;
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in portal.stored("acme/tiny", "main").await {
        fs::write(dir.path().join(path), bytes).unwrap();
    }
    let given = Weights::of("postln-proj-fp16-bin");
    let tensors = |dir: &std::path::Path| inference::checkpoint::tensors(&inference::Checkpoint::open_dir(dir).unwrap()).unwrap();
    let (before, after) = (tensors(given.path()), tensors(dir.path()));
    assert!(!before.tensors().is_empty());
    assert_eq!(before.tensors().len(), after.tensors().len());
    for tensor in before.tensors() {
        let same = after.get(tensor.name()).unwrap();
        assert!(same.shape() == tensor.shape() && same.bytes() == tensor.bytes(), "{}", tensor.name());
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_tokenizer_is_built_where_only_its_parts_are_given(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp32");
    weights.write("vocab.json", r#"{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6}"#);
    weights.write("merges.txt", "#version: 0.2\na b\n");
    portal.publishes("acme/tiny", Gate::Open, &weights).await;
    let stored = portal.stored("acme/tiny", "main").await;
    let tokenizer = inference::Tokenizer::from_json(&stored["tokenizer.json"], None).unwrap();
    assert_eq!(tokenizer.encode("ab").unwrap(), [2, 6], "the leading token, then the merged one");
    assert!(stored.contains_key("vocab.json") && stored.contains_key("merges.txt"));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn every_fault_of_a_folder_is_named_and_nothing_is_kept(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp32");
    weights.configure("ffn_dim", 999).write("bad name.txt", "").write("readme.md", "").write("README.md", "");
    std::os::unix::fs::symlink("/etc/hostname", weights.path().join("hostname.txt")).unwrap();
    spoil_a_number(&weights);
    let faults = portal.finds_fault_with(&weights).await;
    let about = |place: &str| {
        faults.iter().filter(|(at, _)| at.contains(place)).map(|(_, problem)| problem.as_str()).collect::<Vec<_>>().join("; ")
    };

    assert!(about("bad name.txt").contains("' '"), "{faults:?}");
    assert!(about("readme.md").contains("capitals"), "{faults:?}");
    assert!(about("hostname.txt").contains("/etc/hostname"), "{faults:?}");
    assert!(about("fc1.weight").contains("999"), "{faults:?}");
    assert!(faults.values().any(|problem| problem.contains("NaN")), "{faults:?}");
    assert_eq!(portal.objects().await, [""; 0]);
    let mut db = portal.portal.db.acquire().await.unwrap();
    assert!(catalog::find_model(&mut db, "acme", "unfit").await.unwrap().is_none());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn under_whatever_name_a_file_is_published_it_is_pulled(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (longest, long) = (format!("{}.md", "a".repeat(240)), format!("{}.md", "a".repeat(241)));
    let weights = Weights::of("postln-proj-fp16-bin");
    for path in [&longest, "sub/a+b=c@d,(e)_.txt", "console.log", "com10.txt", "sub/Sub/a.txt", "sluice-part.txt"] {
        weights.write(path, path);
    }
    let release = portal.publishes("acme/names", Gate::Open, &weights).await;
    let ada = Puller::new(&portal.base);
    ada.pulls("acme/names", &[]).await.well();
    let stored = portal.stored("acme/names", "main").await;
    assert_eq!(stored.len(), release.files);
    assert!(stored.iter().all(|(path, bytes)| ada.read(path) == *bytes));

    let beside = Weights::of("postln-proj-fp32").read("model.safetensors");
    // The last is alone until `model.safetensors` is made from the pickle.
    for (path, place) in [
        ("Sub/b.txt", "sub"),
        ("con.json", "con.json"),
        (&long, &long),
        ("x.sluice-part", "x.sluice-part"),
        ("nul/a.txt", "nul"),
        ("Model.safetensors", "model.safetensors"),
    ] {
        weights.write(path, &beside);
        let faults = portal.finds_fault_with(&weights).await;
        let told = faults.get(place).is_some_and(|problem| problem.contains("rename"));
        assert!(told && faults.len() == 1, "{path}: {faults:?}");
        let top = weights.path().join(path.split('/').next().unwrap());
        if path.contains('/') { fs::remove_dir_all(top).unwrap() } else { fs::remove_file(top).unwrap() }
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_pickle_that_wants_more_than_weights_is_refused_by_the_name_of_what_it_wants(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("postln-proj-fp16-bin");
    weights.change("pytorch_model.bin", |archive| *archive = with_another_global(archive, b"_rebuild_tensor_v2", b"_rebuild_evil_code"));
    let faults = portal.finds_fault_with(&weights).await;
    assert!(faults.iter().any(|(place, problem)| format!("{place} {problem}").contains("_rebuild_evil_code")), "{faults:?}");
    assert_eq!(portal.objects().await, [""; 0]);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn weights_beside_the_model_are_checked_as_the_model_is(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp32");
    let sound = weights.read("model.safetensors");
    weights.write("original/model.safetensors", &sound).write("adapter.safetensors", &sound);
    let release = portal.publishes("acme/tiny", Gate::Open, &weights).await;
    for name in ["original/model.safetensors", "adapter.safetensors"] {
        assert!(release.notes.iter().any(|note| note.starts_with(&format!("{name}: no part of the model"))), "{:?}", release.notes);
    }

    weights.write("original/model.safetensors", &sound[..sound.len() - 1]).write("model-00001-of-00002.safetensors", &sound);
    weights.change("adapter.safetensors", |bytes| {
        let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        bytes[8 + header..][..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    });
    let faults = portal.finds_fault_with(&weights).await;
    let about = |place: &str| faults.iter().find(|(at, _)| at.starts_with(place)).map(|(_, problem)| problem.as_str()).unwrap_or_default();
    assert!(about("original/model.safetensors").contains("claims bytes"), "{faults:?}");
    assert!(about("adapter.safetensors: tensor").contains("NaN or infinite"), "{faults:?}");
    assert!(about("model-00001-of-00002.safetensors").contains("no index names it"), "{faults:?}");
    assert_eq!(faults.len(), 3, "{faults:?}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_folder_without_weights_or_config_is_refused(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp32");
    fs::remove_file(weights.path().join("model.safetensors")).unwrap();
    assert!(portal.finds_fault_with(&weights).await.keys().any(|place| place.contains("model.safetensors")));
    fs::remove_file(weights.path().join("config.json")).unwrap();
    assert!(portal.finds_fault_with(&weights).await.keys().any(|place| place == "config.json"));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_revision_changes_with_the_content_alone_and_main_follows(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp32");
    let first = portal.publishes("acme/tiny", Gate::Open, &weights).await;
    let elsewhere = portal.publishes("acme/other", Gate::Open, &weights).await;
    assert_eq!(first.revision, elsewhere.revision, "it follows from the content");
    assert!(elsewhere.is_new && elsewhere.written_bytes == 0, "equal files are stored once");

    weights.write("README.md", "# Better");
    let second = portal.publishes("acme/tiny", Gate::Open, &weights).await;
    assert!(second.is_new && second.revision != first.revision);
    assert_eq!(second.written_bytes, 8, "only the card is new");
    assert_eq!(portal.stored("acme/tiny", "main").await["README.md"], b"# Better");
    assert!(!portal.stored("acme/tiny", &first.revision).await.contains_key("README.md"), "the old release is as it was");

    fs::remove_file(weights.path().join("README.md")).unwrap();
    let back = portal.publishes("acme/tiny", Gate::Open, &weights).await;
    assert_eq!((back.revision.as_str(), back.is_new), (first.revision.as_str(), false));
    assert!(!portal.stored("acme/tiny", "main").await.contains_key("README.md"), "main stands where the publisher put it last");
    assert!(!portal.publishes("acme/tiny", Gate::Open, &weights).await.is_new, "and stays there");

    published(portal.tries_to_publish("acme/tiny", None, Some("v1"), &weights).await.unwrap());
    let mut db = portal.portal.db.acquire().await.unwrap();
    let model = catalog::find_model(&mut db, "acme", "tiny").await.unwrap().unwrap().id.to_string();
    let filter = server::audit::Filter { subjects: Some(vec![model]), kind: Some("release.named".into()), ..Default::default() };
    let moves: Vec<_> = server::audit::page(&mut db, &filter, 10).await.unwrap().into_iter().rev().map(|row| row.detail.unwrap()).collect();
    let (one, two) = (&first.revision, &second.revision);
    assert_eq!(
        moves,
        [
            serde_json::json!({ "name": "main", "from": null, "to": one }),
            serde_json::json!({ "name": "main", "from": one, "to": two }),
            serde_json::json!({ "name": "main", "from": two, "to": one }),
            serde_json::json!({ "name": "v1", "from": null, "to": one }),
        ],
        "every move is on the record"
    );
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn tags_do_not_move_and_names_keep_their_spelling(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp32");
    let first = published(portal.tries_to_publish("acme/Tiny", None, Some("v1"), &weights).await.unwrap());
    assert_eq!(first.gate, Gate::Application, "who forgets the gate gives nothing away");
    assert!(!published(portal.tries_to_publish("acme/Tiny", None, Some("v1"), &weights).await.unwrap()).is_new);

    weights.write("README.md", "# Other");
    let taken = portal.tries_to_publish("acme/Tiny", None, Some("v1"), &weights).await.unwrap_err();
    assert!(matches!(&taken, Error::Conflict(why) if why.contains("v1") && why.contains(&first.revision)), "{taken}");
    assert!(!portal.stored("acme/Tiny", "main").await.contains_key("README.md"), "nothing of it is visible");
    let misspelt = portal.tries_to_publish("acme/tiny", None, None, &weights).await.unwrap_err();
    assert!(matches!(&misspelt, Error::Conflict(why) if why.contains("acme/Tiny")), "{misspelt}");

    let opened = portal.publishes("acme/Tiny", Gate::Open, &weights).await;
    assert_eq!(opened.gate, Gate::Open);
    let kept = published(portal.tries_to_publish("acme/Tiny", None, None, &weights).await.unwrap());
    assert_eq!(kept.gate, Gate::Open, "not said is as it is");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn two_publications_at_once_make_one_release(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp16-bin-sharded");
    let publish = || portal.tries_to_publish("acme/tiny", Some(Gate::Open), Some("v1"), &weights);
    let (one, two, three) = tokio::join!(publish(), publish(), publish());
    let all = [one, two, three].map(|outcome| published(outcome.unwrap()));
    assert_eq!(all.iter().filter(|published| published.is_new).count(), 1);
    assert!(all.iter().all(|published| published.revision == all[0].revision));
    let staging = fs::read_dir(portal.portal.config.data_dir.join("objects/staging")).unwrap();
    let left: Vec<_> = staging.map(|entry| entry.unwrap().file_name()).filter(|name| name != ".in-use").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_demo_models_are_published_once_and_only_where_nothing_else_is(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let names = catalog::publish_demo_if_empty(&portal.portal).await.unwrap();
    assert_eq!(names, ["sluice/opt-verse-6m", "sluice/opt-verse-6m-gated"]);
    assert!(catalog::publish_demo_if_empty(&portal.portal).await.unwrap().is_empty());
    let (open, gated) = (portal.stored(names[0], "main").await, portal.stored(names[1], "main").await);
    assert_eq!(open["model.safetensors"], gated["model.safetensors"]);
    assert_ne!(open["LICENSE.md"], gated["LICENSE.md"]);
    let mut db = portal.portal.db.acquire().await.unwrap();
    let model = catalog::find_model(&mut db, "sluice", "opt-verse-6m-gated").await.unwrap().unwrap();
    assert_eq!(model.gate, Gate::Application);
    let licence = catalog::licence(&mut db, &model.licence_sha256.unwrap()).await.unwrap().unwrap();
    for clause in ["1a", "2a-i", "2a-ii", "2a-iii", "2a-iv", "2a-v", "2a-vi"] {
        assert!(licence.body.contains(&format!("**{clause}.**")), "the form attests {clause}");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_portal_in_use_gets_no_demo(db: PgPool) {
    let portal = TestPortal::start(db).await;
    portal.publishes("acme/tiny", Gate::Open, &Weights::of("preln-fp32")).await;
    assert!(catalog::publish_demo_if_empty(&portal.portal).await.unwrap().is_empty());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the thread is the test's own, and waits for another process")]
fn killed_in_the_middle_it_leaves_nothing_visible_and_goes_on_where_it_was() {
    let place = Installation::fresh();
    let weights = Weights::of("preln-fp32");
    let large = fs::File::create(weights.path().join("large.dat")).unwrap();
    large.set_len(600_000_000).unwrap();
    let folder = weights.path().to_str().unwrap();

    let mut child = place.sluice(&["publish", folder, "acme/tiny"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let staging = place.data().join("objects/staging");
    let half_written = || {
        let mut entries = fs::read_dir(&staging).ok()?;
        entries.find_map(|entry| Some(entry.ok()?.metadata().ok()?.len()).filter(|bytes| *bytes > 1_000_000))
    };
    let asked = Instant::now();
    while half_written().is_none() {
        assert!(child.try_wait().unwrap().is_none() && asked.elapsed() < Duration::from_secs(60), "it never got to the large file");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let half = half_written().expect("the kill came in the middle");

    let again: serde_json::Value = serde_json::from_str(&place.run(&["publish", folder, "acme/tiny", "--json"])).unwrap();
    assert_eq!(again["new"], true, "nothing had been published");
    let small = ["config.json", "generation_config.json"].map(|name| weights.read(name).len() as u64).iter().sum::<u64>();
    let (stored, size) = (again["stored_bytes"].as_u64().unwrap(), again["size_bytes"].as_u64().unwrap());
    let left = size - half / PART_BYTES * PART_BYTES;
    assert!((left - small..=left).contains(&stored), "what was stored is not stored again: {stored} of {left}");
    assert!(half_written().is_none(), "the leftovers are swept");

    let repeated = place.output(&["publish", folder, "acme/tiny"]);
    assert!(String::from_utf8_lossy(&repeated.stderr).contains("Nothing new"));
    assert_eq!(String::from_utf8(repeated.stdout).unwrap().trim(), again["revision"].as_str().unwrap());
}

#[test]
fn the_command_tells_faults_from_wrong_usage() {
    let place = Installation::fresh();
    let weights = Weights::of("preln-fp32");
    weights.write("bad name.txt", "").write("worse#name.txt", "");
    let unfit = place.output(&["publish", weights.path().to_str().unwrap(), "acme/tiny"]);
    let complaint = String::from_utf8_lossy(&unfit.stderr).into_owned();
    assert_eq!(unfit.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("bad name.txt") && complaint.contains("worse#name.txt") && complaint.contains("2 faults"), "{complaint}");
    assert!(unfit.stdout.is_empty());
    for wrong in [vec!["/nowhere", "acme/tiny"], vec![weights.path().to_str().unwrap(), "models/tiny"], vec!["/tmp", "tiny"]] {
        let output = place.output(&[&["publish"], wrong.as_slice()].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a NaN over the first number of the first tensor.
fn spoil_a_number(weights: &Weights) {
    weights.change("model.safetensors", |bytes| {
        let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        bytes[8 + header..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
}

/// The same archive, whose pickle asks for `other` where it asked for `global`.
fn with_another_global(archive: &[u8], global: &[u8], other: &[u8]) -> Vec<u8> {
    let mut old = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    let mut new = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for number in 0..old.len() {
        let mut entry = old.by_index(number).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if name.ends_with("data.pkl") {
            let at = content.windows(global.len()).position(|window| window == global).expect("the pickle names the global");
            content.splice(at..at + global.len(), other.iter().copied());
        }
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        new.start_file(name, stored).unwrap();
        new.write_all(&content).unwrap();
    }
    new.finish().unwrap().into_inner()
}

/// A model that the engine's memory does not hold is published as any other, and both its publisher and its report say what is missing.
#[tokio::test]
async fn why_a_model_was_not_asked_to_speak_is_said() {
    let (place, weights) = (Installation::fresh(), Weights::of("preln-fp32"));
    let publish = |memory_bytes: &str, model: &str| {
        let mut command = place.sluice(&["publish", weights.path().to_str().unwrap(), model, "--gate", "open", "--json"]);
        let done = command.env("SLUICE_ENGINE_MEMORY_BYTES", memory_bytes).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let told: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        (told, String::from_utf8(done.stderr).unwrap())
    };
    let (silent, said) = publish("1000", "acme/silent");
    let (spoken, _) = publish("1000000000", "acme/spoken");
    assert!(said.contains("the model was not asked to speak: its weights take ") && said.contains("SLUICE_ENGINE_MEMORY_BYTES"), "{said}");
    let portal = place.serve().await;
    let report = async |model: &str, told: &serde_json::Value| -> serde_json::Value {
        let address = format!("{}/{model}/proof/{}/tensors.json", portal.base, told["revision"].as_str().unwrap());
        serde_json::from_slice(&reqwest::get(address).await.unwrap().bytes().await.unwrap()).unwrap()
    };
    let (without, with) = (report("acme/silent", &silent).await, report("acme/spoken", &spoken).await);
    assert!(without["generation"].is_null() && without["generation_left_out"].as_str().unwrap().contains("1.0 kB"), "{without}");
    assert!(with["generation"]["sha256"].is_string() && with.get("generation_left_out").is_none(), "{with}");
}
