//! Packed weights kept for the next load: the second load gives the same bits, and nothing that goes wrong with the cache costs more
//! than the cache.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![allow(clippy::print_stdout, reason = "how a test in another process answers")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use inference::{Checkpoint, Kv, LoadOptions, Model, PackedCache, Precision, Span};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

/// Small, and so read into memory.
const SMALL: &str = "tests/fixtures/opt/preln-fp16-sharded";

fn small() -> Checkpoint {
    Checkpoint::open_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join(SMALL)).unwrap()
}

/// A model of random weights of 9 MB: several sections, which the system may map in huge pages.
fn several_sections(dir: &Path) -> Checkpoint {
    let (layers, hidden, ffn, vocab, positions) = (4, 256, 1024, 5000, 66);
    let mut shapes =
        vec![("embed_tokens.weight".to_owned(), vec![vocab, hidden]), ("embed_positions.weight".to_owned(), vec![positions, hidden])];
    for layer in (0..layers).map(|layer| format!("layers.{layer}.")) {
        for (name, rows, cols) in [("fc1", ffn, hidden), ("fc2", hidden, ffn)]
            .into_iter()
            .chain(["q_proj", "k_proj", "v_proj", "out_proj"].map(|name| (name, hidden, hidden)))
        {
            let name = if name.ends_with("proj") { format!("{layer}self_attn.{name}") } else { format!("{layer}{name}") };
            shapes.extend([(format!("{name}.weight"), vec![rows, cols]), (format!("{name}.bias"), vec![rows])]);
        }
        for norm in ["self_attn_layer_norm", "final_layer_norm"] {
            shapes.extend(["weight", "bias"].map(|part| (format!("{layer}{norm}.{part}"), vec![hidden])));
        }
    }
    shapes.extend(["weight", "bias"].map(|part| (format!("final_layer_norm.{part}"), vec![hidden])));
    let mut state = 1u32;
    let bytes: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(_, shape)| {
            let numbers = (0..shape.iter().product::<usize>()).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                half::f16::from_f32(((state >> 8) as f32 / (1 << 24) as f32 - 0.5) * 0.1)
            });
            numbers.flat_map(half::f16::to_le_bytes).collect()
        })
        .collect();
    let views = shapes
        .iter()
        .zip(&bytes)
        .map(|((name, shape), bytes)| (format!("model.decoder.{name}"), TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap()));
    serialize_to_file(views, None, &dir.join("model.safetensors")).unwrap();
    let config = format!(
        r#"{{"model_type": "opt", "hidden_size": {hidden}, "word_embed_proj_dim": {hidden}, "num_hidden_layers": {layers}, "vocab_size": {vocab},
        "num_attention_heads": 4, "ffn_dim": {ffn}, "max_position_embeddings": {}}}"#,
        positions - 2
    );
    fs::write(dir.join("config.json"), config).unwrap();
    Checkpoint::open_dir(dir).unwrap()
}

/// An empty cache.
struct Cache(tempfile::TempDir);

impl Cache {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("packed")
    }

    fn options(&self) -> LoadOptions {
        options(&self.folder(), u64::MAX)
    }

    /// The names in it.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder()).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The one file in it.
    #[track_caller]
    fn file(&self) -> PathBuf {
        let names = self.names();
        assert!(names.len() == 1 && names[0].ends_with(".packed"), "{names:?}");
        self.folder().join(&names[0])
    }
}

fn options(folder: &Path, bytes_max: u64) -> LoadOptions {
    LoadOptions { threads: 2, cache: Some(PackedCache { folder: folder.to_owned(), bytes_max }), ..LoadOptions::default() }
}

/// Loads, and says whether the weights came from the cache and which logits they give. What is being kept then, is when this returns.
fn load(checkpoint: &Checkpoint, options: &LoadOptions) -> (bool, Vec<u32>) {
    let mut model = Model::load(checkpoint, options).unwrap();
    let mut kv = Kv::in_blocks(vec![0]);
    let logits = model.forward(&mut [Span { tokens: &[2, 9, 4, 11], kv: &mut kv, logits_from: 0 }]).unwrap();
    let bits = logits.iter().map(|logit| logit.to_bits()).collect();
    (model.is_from_cache(), bits)
}

fn uncached(checkpoint: &Checkpoint) -> Vec<u32> {
    load(checkpoint, &LoadOptions { threads: 2, ..LoadOptions::default() }).1
}

#[test]
fn a_folder_that_others_can_enter_is_not_used_until_it_is_ours_alone() {
    let (cache, checkpoint) = (Cache::empty(), small());
    let allow = |mode| fs::set_permissions(cache.folder(), fs::Permissions::from_mode(mode)).unwrap();
    load(&checkpoint, &cache.options());
    let (kept, file) = (cache.names(), cache.file());
    for mode in [0o777, 0o770, 0o755, 0o1777] {
        allow(mode);
        assert_eq!(load(&checkpoint, &cache.options()), (false, uncached(&checkpoint)), "{mode:o}");
        assert_eq!(cache.names(), kept);
    }
    fs::remove_file(file).unwrap();
    load(&checkpoint, &cache.options());
    assert_eq!(cache.names(), [""; 0], "nothing is kept there either");
    allow(0o700);
    assert!(!load(&checkpoint, &cache.options()).0);
    assert!(load(&checkpoint, &cache.options()).0);
}

#[test]
fn the_second_load_finds_what_the_first_has_packed_and_gives_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    for checkpoint in [small(), several_sections(dir.path())] {
        let cache = Cache::empty();
        for (number, precision) in Precision::ALL.into_iter().enumerate() {
            let options = LoadOptions { precision, ..cache.options() };
            let (first, second) = (load(&checkpoint, &options), load(&checkpoint, &options));
            assert_eq!((first.0, second.0), (false, true), "{precision:?}");
            assert_eq!(first.1, second.1, "{precision:?}");
            assert_eq!(cache.names().len(), number + 1, "one file for each precision");
        }
    }
}

#[test]
fn a_flipped_byte_a_missing_end_or_one_too_many_is_found_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    for checkpoint in [small(), several_sections(dir.path())] {
        let cache = Cache::empty();
        let (_, expected) = load(&checkpoint, &cache.options());
        let whole = fs::read(cache.file()).unwrap();
        let end = whole.len();
        let flipped = [0, 20, 90, 110, 2 << 20, (2 << 20) + 777, (end + (2 << 20)) / 2, end - 1];
        let spoiled = flipped
            .map(|place| {
                let mut bytes = whole.clone();
                bytes[place] ^= 16;
                bytes
            })
            .into_iter()
            .chain([whole[..end - 1].to_vec(), [&whole[..], &[0]].concat(), Vec::new(), vec![0; end]]);
        for (number, bytes) in spoiled.enumerate() {
            fs::write(cache.file(), bytes).unwrap();
            assert_eq!(load(&checkpoint, &cache.options()), (false, expected.clone()), "case {number}");
            assert_eq!(fs::read(cache.file()).unwrap(), whole, "written anew, case {number}");
            assert_eq!(load(&checkpoint, &cache.options()), (true, expected.clone()), "case {number}");
        }
    }
}

#[test]
fn files_of_a_folder_are_taken_for_others_as_soon_as_they_are_written() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), Cache::empty());
    let checkpoint = several_sections(dir.path());
    let (_, before) = load(&checkpoint, &cache.options());
    let path = dir.path().join("model.safetensors");
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 3;
    fs::write(&path, bytes).unwrap();
    // As old and as long as before.
    fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
    let (from_cache, after) = load(&checkpoint, &cache.options());
    assert!(!from_cache);
    assert_ne!(after, before);
    assert_eq!(after, uncached(&checkpoint));
}

#[test]
fn files_of_known_digest_are_found_wherever_they_lie() {
    let digest_of = |digest: &str| ["model.safetensors"].map(|name| (name.to_owned(), digest.to_owned())).into();
    let at = |dir: &Path, digests: BTreeMap<String, String>| several_sections(dir).with_digests(digests);
    let (one, other, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Cache::empty());
    let (_, expected) = load(&at(one.path(), digest_of("a1")), &cache.options());
    assert_eq!(load(&at(other.path(), digest_of("a1")), &cache.options()), (true, expected));
    assert!(!load(&at(other.path(), digest_of("b2")), &cache.options()).0);
}

#[test]
fn a_folder_that_cannot_be_written_costs_nothing_but_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let (file, read_only) = (dir.path().join("file"), dir.path().join("read-only"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&read_only).unwrap();
    let mut permissions = fs::metadata(&read_only).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&read_only, permissions).unwrap();
    let expected = uncached(&small());
    // No system lets anybody make a folder in /proc, root included.
    for folder in [file.clone(), file.join("below"), read_only, PathBuf::from("/proc/packed")] {
        assert_eq!(load(&small(), &options(&folder, u64::MAX)).1, expected, "{folder:?}");
    }
    assert_eq!(fs::read(file).unwrap(), b"");
}

#[test]
fn the_least_recently_used_go_when_there_are_too_many() {
    let cache = Cache::empty();
    let checkpoint = small().with_digests(BTreeMap::new());
    let release = |number: usize| {
        let files = small().files().keys().map(|name| (name.clone(), format!("{number}"))).collect();
        checkpoint.clone().with_digests(files)
    };
    load(&release(0), &cache.options());
    let size = fs::metadata(cache.file()).unwrap().len();
    let two = options(&cache.folder(), 2 * size);
    load(&release(1), &two);
    let hours_ago = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - 3600 * hours);
    let names = cache.names();
    for (name, hours) in names.iter().zip([1, 2]) {
        fs::File::options().write(true).open(cache.folder().join(name)).unwrap().set_modified(hours_ago(hours)).unwrap();
    }
    // Using the older one makes it the younger.
    let older = names[1].clone();
    for number in [0, 1] {
        let before = fs::metadata(cache.folder().join(&older)).unwrap().modified().unwrap();
        load(&release(number), &two);
        if fs::metadata(cache.folder().join(&older)).unwrap().modified().unwrap() != before {
            break;
        }
    }
    fs::File::options().write(true).open(cache.folder().join(&names[0])).unwrap().set_modified(hours_ago(3)).unwrap();
    load(&release(2), &two);
    let left = cache.names();
    assert!(left.len() == 2 && left.contains(&older) && !left.contains(&names[0]), "{left:?}");

    let none = options(&cache.folder(), size - 1);
    assert!(!load(&release(3), &none).0);
    assert_eq!(cache.names(), left, "what does not fit alone is not kept, and nothing goes for it");
}

/// This test alone, again, in a process of its own that a shell prepares; there [`in_that_process`] is true.
fn again(test: &str, prepare: &str, dir: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{prepare}; exec \"$0\" --exact {test} --nocapture")]).arg(std::env::current_exe().unwrap());
    shell.env(THERE, dir);
    shell
}

const THERE: &str = "SLUICE_TEST_CACHE_DIR";

/// Where this is the process of [`again`]: loads and says what came.
#[expect(clippy::disallowed_methods, reason = "how a test knows itself in another process")]
fn in_that_process() -> bool {
    let Some(dir) = std::env::var_os(THERE).map(PathBuf::from) else { return false };
    let (from_cache, bits) = load(&Checkpoint::open_dir(&dir.join("model")).unwrap(), &options(&dir.join("cache/packed"), u64::MAX));
    println!("came {from_cache} {}", blake3_of(&bits));
    true
}

fn blake3_of(bits: &[u32]) -> String {
    blake3::hash(bytemuck::cast_slice(bits)).to_hex().to_string()
}

fn said(output: &Output) -> &str {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().find_map(|line| line.split_once("came ")).map(|(_, said)| said).unwrap_or_else(|| panic!("{output:?}"))
}

/// A model and an empty cache, as [`in_that_process`] expects them; and what loading must give.
fn model_and_cache() -> (tempfile::TempDir, Cache, String) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("model")).unwrap();
    let expected = blake3_of(&uncached(&several_sections(&dir.path().join("model"))));
    let inside = tempfile::Builder::new().prefix("cache").rand_bytes(0).tempdir_in(dir.path()).unwrap();
    (dir, Cache(inside), expected)
}

#[test]
fn a_process_killed_while_it_writes_leaves_nothing_that_lasts() {
    if in_that_process() {
        return;
    }
    let (dir, cache, expected) = model_and_cache();
    // The system kills whoever writes a file longer than it may: here in the middle, and the same as kill -9.
    let killed =
        again("a_process_killed_while_it_writes_leaves_nothing_that_lasts", "ulimit -c 0; ulimit -f 10000", dir.path()).output().unwrap();
    assert!(killed.status.signal().is_some(), "{killed:?}");
    let names = cache.names();
    assert!(names.len() == 1 && names[0].ends_with(".part"), "{names:?}");

    let next = || again("a_process_killed_while_it_writes_leaves_nothing_that_lasts", "true", dir.path()).output().unwrap();
    assert_eq!(said(&next()), format!("false {expected}"));
    cache.file();
    assert_eq!(said(&next()), format!("true {expected}"));
}

#[test]
fn a_disk_that_is_full_in_the_middle_costs_nothing_but_the_cache() {
    if in_that_process() {
        return;
    }
    let (dir, cache, expected) = model_and_cache();
    // Who does not listen to the signal is told by an error, as by a full disk.
    let full = again("a_disk_that_is_full_in_the_middle_costs_nothing_but_the_cache", "trap '' XFSZ; ulimit -f 10000", dir.path())
        .output()
        .unwrap();
    assert_eq!(said(&full), format!("false {expected}"));
    assert_eq!(cache.names(), [""; 0]);
}

#[test]
fn processes_that_load_at_once_do_not_disturb_each_other() {
    if in_that_process() {
        return;
    }
    let (dir, cache, expected) = model_and_cache();
    for round in 0..3 {
        let children: Vec<_> = (0..4)
            .map(|_| {
                let mut child = again("processes_that_load_at_once_do_not_disturb_each_other", "true", dir.path());
                child.stdout(std::process::Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert!(said(&output).ends_with(&expected), "{output:?}");
        }
        let file = cache.file();
        if round < 2 {
            fs::remove_file(file).unwrap();
        }
    }
}
