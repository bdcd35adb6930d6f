//! Pickles that break, or want to run something: each is refused by name. And what is sound is converted without losing a bit.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod spoilt;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use inference::checkpoint::{TensorIndex, convert, convert_bytes, tensors, verify, verify_bytes};
use inference::{Checkpoint, Error};
use safetensors::SafeTensors;
use spoilt::{Copy, assert_names, fixtures};
use zip::write::SimpleFileOptions;

const ONE: &str = "model.safetensors";
const BIN: &str = "pytorch_model.bin";

/// A `.bin` with this pickle and one storage of eight bytes.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut archive = zip::ZipWriter::new(&mut bytes);
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, body) in [("m/data.pkl", pickle), ("m/data/0", &[0; 8])] {
        archive.start_file(name, stored).unwrap();
        archive.write_all(body).unwrap();
    }
    archive.finish().unwrap();
    bytes.into_inner()
}

#[test]
fn an_archive_of_two_pickles_is_refused_by_both_names() {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut archive = zip::ZipWriter::new(&mut bytes);
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let pickle = tensor_pickle(0, [2, 2], [2, 1]);
    for (name, body) in [("a/data.pkl", &pickle[..]), ("a/data/0", &[0; 8]), ("b/data.pkl", &pickle), ("b/data/0", &[1; 8])] {
        archive.start_file(name, stored).unwrap();
        archive.write_all(body).unwrap();
    }
    archive.finish().unwrap();
    assert_names(&refusal_of_bin(&bytes.into_inner()), &[BIN, "a/data.pkl", "b/data.pkl"]);
}

fn refusal_of_bin(bytes: &[u8]) -> String {
    let copy = Copy::of("postln-proj-fp16-bin");
    fs::write(copy.path(BIN), bytes).unwrap();
    tensors(&copy.checkpoint()).unwrap_err().to_string()
}

/// `{'w': tensor}` of halves in storage '0', with this offset, shape and stride.
fn tensor_pickle(offset: u32, shape: [u32; 2], stride: [u32; 2]) -> Vec<u8> {
    let number = |n: u32| [b"J".as_slice(), &n.to_le_bytes()].concat();
    let pair = |[a, b]: [u32; 2]| [number(a), number(b), vec![0x86]].concat();
    let storage = b"((X\x07\x00\x00\x00storagectorch\nHalfStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ".to_vec();
    let head = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n".to_vec();
    [head, storage, number(offset), pair(shape), pair(stride), b"\x89NtRs.".to_vec()].concat()
}

#[test]
fn a_pickle_that_would_run_something_is_refused_by_name() {
    let message = refusal_of_bin(&archive(b"\x80\x02cos\nsystem\nX\x09\x00\x00\x00rm -rf ~/\x85R."));
    assert_names(&message, &[BIN, "os.system", "nothing is run"]);
    assert_names(&refusal_of_bin(&archive(b"\x80\x02ctorch\nload\n.")), &["torch.load"]);
}

#[test]
fn a_tensor_outside_its_storage_is_refused() {
    assert_names(&refusal_of_bin(&archive(&tensor_pickle(0, [2, 3], [3, 1]))), &["`w`", "past the end"]);
    assert_names(&refusal_of_bin(&archive(&tensor_pickle(1, [2, 2], [2, 1]))), &["`w`", "past the end"]);
    assert_names(&refusal_of_bin(&archive(&tensor_pickle(0, [2, 2], [1, 2]))), &["`w`", "not contiguous"]);
    assert_names(&refusal_of_bin(&archive(&tensor_pickle(0, [i32::MAX as u32; 2], [i32::MAX as u32, 1]))), &["`w`"]);
    assert_names(&refusal_of_bin(&archive(&tensor_pickle(0, [u32::MAX, 1], [1, 1]))), &["negative"]);
}

#[test]
fn a_damaged_archive_is_refused() {
    let whole = fs::read(fixtures().join("postln-proj-fp16-bin").join(BIN)).unwrap();
    for length in [0, 1, 100, whole.len() / 2, whole.len() - 1] {
        assert_names(&refusal_of_bin(&whole[..length]), &[BIN]);
    }
    // One flipped bit in the numbers: nothing but the checksum sees it.
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    assert_names(&refusal_of_bin(&flipped), &[BIN, "damaged"]);
    assert_names(&refusal_of_bin(b"\x80\x02\x8a\x0alFC\x9cF\xf9 j\xa8P\x19."), &["before 1.6"]);
}

fn by_name(index: &TensorIndex) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    index.tensors().iter().map(|tensor| (tensor.name().to_owned(), (tensor.shape().to_vec(), tensor.bytes().to_vec()))).collect()
}

#[test]
fn a_conversion_keeps_every_bit_and_comes_out_the_same_each_time() {
    for name in ["postln-proj-fp16-bin", "preln-fp16-bin-sharded"] {
        let source = Checkpoint::open_dir(&fixtures().join(name)).unwrap();
        for shard_bytes_max in [u64::MAX, 50_000, 1] {
            let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let written = convert(&source, first.path(), shard_bytes_max, &|_| {}).unwrap();
            let again = convert(&source, second.path(), shard_bytes_max, &|_| {}).unwrap();
            for (one, other) in written.iter().zip(&again) {
                let bytes = fs::read(&one.path).unwrap();
                assert_eq!((&one.name, one.size_bytes), (&other.name, bytes.len() as u64));
                assert!(bytes == fs::read(&other.path).unwrap(), "{} differs between two runs", one.name);
                if one.name.ends_with(".safetensors") {
                    SafeTensors::deserialize(&bytes).unwrap();
                }
            }
            match shard_bytes_max {
                u64::MAX => assert_eq!(written.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), [ONE]),
                _ => assert!(written.len() > 3 && written.last().unwrap().name == "model.safetensors.index.json"),
            }
            fs::copy(source.path("config.json").unwrap(), first.path().join("config.json")).unwrap();
            let converted = Checkpoint::open_dir(first.path()).unwrap();
            assert_eq!(verify(&converted, &|_| {}), []);
            assert!(by_name(&tensors(&converted).unwrap()) == by_name(&tensors(&source).unwrap()), "{name}");
        }
    }
    let already = Checkpoint::open_dir(&fixtures().join("preln-fp32")).unwrap();
    assert!(matches!(convert(&already, Path::new("/nonexistent"), 1, &|_| {}), Err(Error::Unsupported { .. })));
}

#[test]
fn a_tensor_named_as_no_tensor_may_be_is_not_converted() {
    let pickle = tensor_pickle(0, [2, 2], [2, 1]);
    let named = [&pickle[..3], b"X\x0c\x00\x00\x00__metadata__", &pickle[9..]].concat();
    let copy = Copy::of("postln-proj-fp16-bin");
    fs::write(copy.path(BIN), archive(&named)).unwrap();
    let out = tempfile::tempdir().unwrap();
    assert_names(&convert(&copy.checkpoint(), out.path(), u64::MAX, &|_| {}).unwrap_err().to_string(), &["__metadata__", "rename"]);
}

#[test]
fn members_that_lie_in_each_other_are_refused() {
    let mut bytes = archive(&[tensor_pickle(0, [2, 2], [2, 1]), vec![0; 4000]].concat());
    let first_entry = bytes.windows(4).position(|word| word == b"PK\x01\x02").unwrap();
    let second_entry = first_entry + 4 + bytes[first_entry + 4..].windows(4).position(|word| word == b"PK\x01\x02").unwrap();
    let first: Vec<u8> = bytes[first_entry..second_entry].to_vec();
    // The second entry becomes the first under another name.
    let name = first_entry + 46;
    assert_eq!(&bytes[name..name + 10], b"m/data.pkl");
    let mut again = first.clone();
    again[46 + 9] = b'x';
    bytes.splice(second_entry..second_entry, again);
    let end = bytes.len() - 22;
    for place in [8, 10] {
        bytes[end + place] += 1;
    }
    let size = u32::from_le_bytes(bytes[end + 12..end + 16].try_into().unwrap()) + first.len() as u32;
    bytes[end + 12..end + 16].copy_from_slice(&size.to_le_bytes());
    assert_names(&refusal_of_bin(&bytes), &[BIN, "overlap"]);
}

#[test]
fn an_interrupted_conversion_keeps_what_is_complete_and_right() {
    let source = Checkpoint::open_dir(&fixtures().join("preln-fp16-bin-sharded")).unwrap();
    let out = tempfile::tempdir().unwrap();
    let first = convert(&source, out.path(), 50_000, &|_| {}).unwrap();
    assert!(first.len() > 5 && first.iter().all(|file| !file.was_there));
    let bytes: Vec<Vec<u8>> = first.iter().map(|file| fs::read(&file.path).unwrap()).collect();
    fs::remove_file(&first[0].path).unwrap();
    fs::write(out.path().join(format!("{}.partial", first[0].name)), &bytes[0][..100]).unwrap();
    fs::write(&first[1].path, &bytes[1][..bytes[1].len() - 1]).unwrap();
    let mut flipped = bytes[2].clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&first[2].path, flipped).unwrap();

    let second = convert(&source, out.path(), 50_000, &|_| {}).unwrap();
    let shards = second.len() - 1;
    for (number, file) in second.iter().enumerate() {
        assert_eq!(file.was_there, (3..shards).contains(&number), "{}", file.name);
        assert!(fs::read(&file.path).unwrap() == bytes[number], "{}", file.name);
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), second.len(), "nothing half is left");
}

#[test]
fn checks_and_conversions_tell_how_far_they_are() {
    let told = AtomicU64::new(0);
    let advance = |bytes: u64| _ = told.fetch_add(bytes, Ordering::Relaxed);
    for name in ["preln-fp32", "preln-fp16-sharded", "preln-fp16-bin-sharded"] {
        let checkpoint = Checkpoint::open_dir(&fixtures().join(name)).unwrap();
        let weights = tensors(&checkpoint).unwrap().bytes();
        assert_eq!(verify(&checkpoint, &advance), []);
        let (done, total) = (told.swap(0, Ordering::Relaxed), verify_bytes(&checkpoint));
        assert!(done <= total && done >= weights, "{name}: {done} of {total}");
        if name.contains("bin") {
            let out = tempfile::tempdir().unwrap();
            convert(&checkpoint, out.path(), u64::MAX, &advance).unwrap();
            let (done, total) = (told.swap(0, Ordering::Relaxed), convert_bytes(&checkpoint));
            assert!(done <= total && done >= 2 * weights, "{name}: {done} of {total}");
            convert(&checkpoint, out.path(), u64::MAX, &advance).unwrap();
            assert_eq!(told.swap(0, Ordering::Relaxed), done + out.path().join(ONE).metadata().unwrap().len() - weights, "compared");
        }
    }
}
