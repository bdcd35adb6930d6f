//! Every input the fuzzer has kept, through the same functions: what was found once stays mended, without a fuzzer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// The most bytes of all that is kept: it is cloned by everybody.
const CORPUS_BYTES_MAX: u64 = 1 << 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn replay(name: &str) {
    let (_, target) = targets::TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    let inputs: Vec<PathBuf> = fs::read_dir(corpus().join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() > 3, "{name} has a corpus");
    for input in inputs {
        let replayed = std::panic::catch_unwind(|| target(&fs::read(&input).unwrap()));
        assert!(replayed.is_ok(), "{} breaks the law of its target", input.display());
    }
}

#[test]
fn hostile_configs_are_refused_or_mean_what_they_say() {
    replay("config");
}

#[test]
fn hostile_safetensors_are_refused_or_agree_with_the_reference_implementation() {
    replay("safetensors");
}

#[test]
fn hostile_indices_are_refused_or_say_where_everything_is() {
    replay("index");
}

#[test]
fn hostile_archives_are_refused_or_convert_to_the_same() {
    replay("archive");
}

#[test]
fn hostile_pickles_are_refused_or_convert_to_the_same() {
    replay("pickle");
}

#[test]
fn hostile_tokenizers_are_refused_or_speak_and_no_text_is_lost() {
    replay("tokenizer");
}

#[test]
fn spoilt_models_and_absurd_requests_are_refused_or_answered_the_same_each_time() {
    replay("engine");
}

#[test]
fn every_target_has_a_program_and_a_small_corpus() {
    let names: BTreeSet<String> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let of = |folder: &Path| -> BTreeSet<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of(&corpus()), names);
    assert_eq!(of(&corpus().join("../fuzz_targets")), names);
    let bytes: u64 = names
        .iter()
        .flat_map(|name| fs::read_dir(corpus().join(name)).unwrap())
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < CORPUS_BYTES_MAX, "the corpus has {bytes} bytes");
}
