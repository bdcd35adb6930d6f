//! Meta's own `.pt` checkpoints: one file or model-parallel parts, with what training left beside the weights.
#![allow(clippy::unwrap_used, reason = "in tests a failure is a panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use inference::Checkpoint;
use inference::checkpoint::{TensorFacts, convert, digest_of_all, examine, facts, file_facts, is_part, tensors};

use saved::{Half, cut, fused, save};

mod saved;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt").join(name)
}

/// What Meta's training would call the fixture's weights, whole.
fn weights() -> Vec<Half> {
    saved::weights(&fixture("preln-fp16-sharded"))
}

fn folder(parts: &[(&str, Vec<Half>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("preln-fp16-sharded").join("config.json"), folder.path().join("config.json")).unwrap();
    for (name, tensors) in parts {
        save(&folder.path().join(name), tensors);
    }
    folder
}

/// The digest of every tensor, by its name without a prefix.
fn digests(facts: &[TensorFacts]) -> BTreeMap<String, String> {
    facts.iter().map(|tensor| (tensor.name.trim_start_matches("model.").to_owned(), tensor.digest.clone())).collect()
}

#[test]
fn one_file_and_parts_are_the_same_model_in_the_usual_layout() {
    let (whole, nothing) = (weights(), &|_| {});
    let mut expected = digests(&facts(&Checkpoint::open_dir(&fixture("preln-fp16-sharded")).unwrap(), nothing).unwrap());
    expected.remove("lm_head.weight");
    let mut with_head = whole.clone();
    let table = with_head.iter().find(|tensor| tensor.0 == "decoder.embed_tokens.weight").unwrap().clone();
    with_head.push(("decoder.output_projection.weight".into(), table.1, table.2));
    with_head.push(("decoder.version".into(), vec![1], vec![0, 0x42]));
    for parts in [
        vec![("reshard.pt", with_head)],
        vec![("consolidated.pt", fused(&whole))],
        vec![("reshard-model_part-0.pt", cut(&whole, 0, 2)), ("reshard-model_part-1.pt", cut(&whole, 1, 2))],
        vec![("reshard-model_part-0.pt", fused(&cut(&whole, 0, 2))), ("reshard-model_part-1.pt", fused(&cut(&whole, 1, 2)))],
    ] {
        let folder = folder(&parts);
        let checkpoint = Checkpoint::open_dir(folder.path()).unwrap();
        let examined = examine(&checkpoint, nothing);
        assert_eq!(examined.faults, [], "{}", parts[0].0);
        assert_eq!(digests(&examined.tensors), expected, "{}", parts[0].0);
        let out = tempfile::tempdir().unwrap();
        convert(&checkpoint, out.path(), u64::MAX, nothing).unwrap();
        let written = file_facts("model.safetensors", &out.path().join("model.safetensors"), nothing).unwrap();
        assert_eq!(digests(&written), expected, "the container does not matter");
        assert_eq!(digest_of_all(&written), digest_of_all(&examined.tensors), "nor does the order");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), parts.len() + 1, "nothing is left beside the parts: {left:?}");
    }
}

#[test]
fn one_file_by_itself_has_the_tensors_of_the_usual_layout() {
    let (whole, nothing) = (weights(), &|_| {});
    let mut expected = digests(&facts(&Checkpoint::open_dir(&fixture("preln-fp16-sharded")).unwrap(), nothing).unwrap());
    expected.remove("lm_head.weight");
    let folder = folder(&[("a.pt", whole.clone()), ("b.pt", fused(&whole)), ("c-model_part-1.pt", fused(&cut(&whole, 1, 2)))]);
    let of = |name: &str| file_facts(name, &folder.path().join(name), nothing).unwrap();
    assert_eq!(digests(&of("a.pt")), expected);
    assert_eq!(digests(&of("b.pt")), expected, "keys, values and queries are tensors of their own");
    assert!(is_part("c-model_part-1.pt") && !is_part("b.pt"));
    let share = of("c-model_part-1.pt");
    assert_eq!(digests(&share).keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    let table = share.iter().find(|tensor| tensor.name.ends_with("embed_tokens.weight")).unwrap();
    assert_eq!(table.shape[0] * 2, whole.iter().find(|tensor| tensor.0.ends_with("embed_tokens.weight")).unwrap().1[0]);
    // Flattened weights are told as they are: what is in them only metaseq knows.
    save(&folder.path().join("flat.pt"), &[("decoder.flat_param_0".to_owned(), vec![4], vec![0; 8])]);
    assert_eq!(of("flat.pt")[0].name, "decoder.flat_param_0");
}

#[test]
fn parts_that_do_not_belong_together_are_refused_by_name() {
    let whole = weights();
    let two = |second: Vec<Half>| folder(&[("x-model_part-0.pt", cut(&whole, 0, 2)), ("x-model_part-1.pt", second)]);
    let mut other_norm = cut(&whole, 1, 2);
    other_norm.iter_mut().find(|tensor| tensor.0.contains("layer_norm")).unwrap().2[0] ^= 1;
    let mut less = cut(&whole, 1, 2);
    less.pop();
    let flat = vec![("decoder.flat_param_0".to_owned(), vec![4], vec![0; 8])];
    for (folder, words) in [
        (two(other_norm), "differs from that in"),
        (two(less), "holds"),
        (two(whole.clone()), "equal shares"),
        (folder(&[("x-model_part-0.pt", whole.clone()), ("x-model_part-2.pt", whole.clone())]), "x-model_part-2.pt"),
        (folder(&[("x-model_part-0-shard0.pt", flat.clone())]), "unflatten-weights"),
        (folder(&[("x.pt", flat)]), "unflatten-weights"),
    ] {
        let refused = tensors(&Checkpoint::open_dir(folder.path()).unwrap()).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn what_is_not_a_number_is_counted_and_named() {
    let mut whole = weights();
    let spoilt = whole.iter_mut().find(|tensor| tensor.0.ends_with("fc1.bias")).unwrap();
    spoilt.2[..4].copy_from_slice(&[0x00, 0x7e, 0x00, 0x7c]);
    let (name, count) = (spoilt.0.clone(), spoilt.1[0] as u64);
    let folder = folder(&[("reshard.pt", whole)]);
    let examined = examine(&Checkpoint::open_dir(folder.path()).unwrap(), &|_| {});
    assert_eq!(examined.faults.len(), 1);
    assert!(examined.faults[0].place.contains(&name) && examined.faults[0].problem.contains("NaN"), "{:?}", examined.faults);
    let facts = examined.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    assert_eq!((facts.count, facts.finite), (count, count - 2));
}

#[test]
fn the_numbers_of_a_tensor_are_those_of_its_definition() {
    let index = tensors(&Checkpoint::open_dir(&fixture("preln-fp32")).unwrap()).unwrap();
    let all = facts(&Checkpoint::open_dir(&fixture("preln-fp32")).unwrap(), &|_| {}).unwrap();
    for (tensor, facts) in index.tensors().iter().zip(&all) {
        let numbers: Vec<f64> = tensor.to_f32().into_iter().map(f64::from).collect();
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / numbers.len() as f64;
        let absmax = numbers.iter().fold(0.0, |most: f64, number| most.max(number.abs()));
        assert!((facts.mean - mean).abs() < 1e-9 && (facts.std - variance.sqrt()).abs() < 1e-6, "{facts:?}");
        assert_eq!((facts.absmax, facts.finite), (absmax, numbers.len() as u64));
        let dims: Vec<String> = tensor.shape().iter().map(ToString::to_string).collect();
        let said = [format!("F32\n[{}]\n", dims.join(",")).as_bytes(), tensor.bytes()].concat();
        assert_eq!(facts.digest, blake3::hash(&said).to_hex().to_string(), "the definition, in one line");
    }
}
