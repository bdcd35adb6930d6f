//! Checkpoints that lie or break: each is refused, and the message names the place.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod spoilt;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use inference::checkpoint::{Fault, build_tokenizer_json, tensors, verify, verify_file};
use inference::{Checkpoint, Engine, Error, LoadOptions, MemoryLimit, Model, Precision};
use proptest::prelude::*;
use serde_json::{Value, json};
use spoilt::{Copy, assert_names, fixtures};

/// A model of this shape in a folder; config.json is as given, all weights are zero and take no room on the disk.
fn zeros(dir: &Path, config: &Value) -> Checkpoint {
    let size = |name: &str| config[name].as_u64().unwrap();
    let (hidden, ffn, layers) = (size("hidden_size"), size("ffn_dim"), size("num_hidden_layers"));
    let mut shapes = vec![
        ("embed_tokens.weight".to_owned(), vec![size("vocab_size"), hidden]),
        ("embed_positions.weight".to_owned(), vec![size("max_position_embeddings") + 2, hidden]),
    ];
    let linears = ["q_proj", "k_proj", "v_proj", "out_proj"].map(|name| (format!("self_attn.{name}"), hidden, hidden));
    let linears = linears.into_iter().chain([("fc1".to_owned(), ffn, hidden), ("fc2".to_owned(), hidden, ffn)]);
    let linears: Vec<(String, u64, u64)> = linears.collect();
    for layer in 0..layers {
        for (name, rows, cols) in &linears {
            shapes.extend([
                (format!("layers.{layer}.{name}.weight"), vec![*rows, *cols]),
                (format!("layers.{layer}.{name}.bias"), vec![*rows]),
            ]);
        }
        for norm in ["self_attn_layer_norm", "final_layer_norm"] {
            shapes.extend(["weight", "bias"].map(|part| (format!("layers.{layer}.{norm}.{part}"), vec![hidden])));
        }
    }
    shapes.extend(["weight", "bias"].map(|part| (format!("final_layer_norm.{part}"), vec![hidden])));
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in shapes {
        let begin = end;
        end += 2 * shape.iter().product::<u64>();
        header.insert(format!("model.decoder.{name}"), json!({ "dtype": "F16", "shape": shape, "data_offsets": [begin, end] }));
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = fs::File::create(dir.join(ONE)).unwrap();
    file.write_all(&[&(header.len() as u64).to_le_bytes(), &header[..]].concat()).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
    fs::write(dir.join("config.json"), serde_json::to_vec(config).unwrap()).unwrap();
    Checkpoint::open_dir(dir).unwrap()
}

impl Copy {
    fn change(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> &Self {
        let mut bytes = fs::read(self.path(file)).unwrap();
        change(&mut bytes);
        fs::write(self.path(file), bytes).unwrap();
        self
    }

    fn change_json(&self, file: &str, change: impl FnOnce(&mut Value)) -> &Self {
        self.change(file, |bytes| {
            let mut json = serde_json::from_slice(bytes).unwrap();
            change(&mut json);
            *bytes = serde_json::to_vec(&json).unwrap();
        })
    }

    /// Rewrites the JSON header of a safetensors file, leaving the numbers.
    fn change_header(&self, file: &str, change: impl FnOnce(&mut Value)) -> &Self {
        self.change(file, |bytes| {
            let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let mut header = serde_json::from_slice(&bytes[8..end]).unwrap();
            change(&mut header);
            let header = serde_json::to_vec(&header).unwrap();
            *bytes = [&(header.len() as u64).to_le_bytes(), &header[..], &bytes[end..]].concat();
        })
    }

    fn faults(&self) -> Vec<String> {
        verify(&self.checkpoint(), &|_| {}).iter().map(Fault::to_string).collect()
    }

    /// The one fault, which must also keep the model from loading.
    fn only_fault(&self) -> String {
        let faults = self.faults();
        assert_eq!(faults.len(), 1, "{faults:#?}");
        assert!(Model::load(&self.checkpoint(), &LoadOptions::default()).is_err(), "loaded in spite of: {faults:?}");
        faults.into_iter().next().unwrap()
    }
}

#[test]
fn every_fixture_is_without_fault() {
    let mut seen = 0;
    for entry in fs::read_dir(fixtures()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        // Beside the weights lie the recorded answers, which are no part of the checkpoint.
        assert_eq!(verify(&Checkpoint::open_dir(&entry.path()).unwrap(), &|_| {}), [], "{:?}", entry.path());
        seen += 1;
    }
    assert_eq!(seen, 10);
}

const ONE: &str = "model.safetensors";

#[test]
fn a_header_that_lies_is_refused_by_the_tensors_name() {
    let name = "model.decoder.layers.0.fc1.bias";
    let spoiled = |change: &dyn Fn(&mut Value)| Copy::of("preln-fp32").change_header(ONE, change).faults().join("\n");
    assert_names(&spoiled(&|header| header[name]["data_offsets"] = json!([0, 1u64 << 40])), &[ONE, name]);
    assert_names(&spoiled(&|header| header[name]["data_offsets"] = json!([8, 4])), &[ONE, name]);
    assert_names(&spoiled(&|header| header[name]["data_offsets"] = json!([0, 512])), &[ONE, "overlaps"]);
    assert_names(&spoiled(&|header| header[name]["shape"] = json!([1u64 << 62, 8])), &[ONE, name]);
    assert_names(&spoiled(&|header| header[name]["shape"] = json!([-1])), &[ONE, "header"]);
    assert_names(&spoiled(&|header| header[name]["dtype"] = json!("I64")), &[name, "I64"]);
    assert_names(&spoiled(&|header| header[name]["run"] = json!("me")), &[ONE, "run"]);
    assert_names(&spoiled(&|header| _ = header.as_object_mut().unwrap().remove(name)), &[ONE, "belong to no tensor"]);
}

#[test]
fn a_container_that_lies_about_its_size_is_refused() {
    let spoiled = |change: &dyn Fn(&mut Vec<u8>)| Copy::of("preln-fp32").change(ONE, change).only_fault_of_weights();
    assert_names(&spoiled(&|bytes| bytes.truncate(5)), &[ONE, "5 bytes"]);
    assert_names(&spoiled(&|bytes| bytes.clear()), &[ONE]);
    assert_names(&spoiled(&|bytes| bytes[..8].fill(0xff)), &[ONE, "18446744073709551615"]);
    assert_names(&spoiled(&|bytes| bytes.truncate(bytes.len() - 1)), &[ONE]);
    assert_names(&spoiled(&|bytes| bytes.push(0)), &[ONE, "last 1 bytes"]);
    assert_names(&spoiled(&|bytes| bytes[8] = b'['), &[ONE, "header"]);
    let twice = Copy::of("preln-fp32")
        .change(ONE, |bytes| {
            let header = br#"{"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"w":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}}"#;
            *bytes = [&(header.len() as u64).to_le_bytes(), &header[..], &[0; 4]].concat();
        })
        .only_fault_of_weights();
    assert_names(&twice, &["`w`", "twice"]);
}

#[test]
fn a_header_of_more_than_any_model_has_is_refused_before_it_is_kept() {
    let with_header = |header: &[u8]| {
        let copy = Copy::of("preln-fp32");
        fs::write(copy.path(ONE), [&(header.len() as u64).to_le_bytes(), header].concat()).unwrap();
        copy.only_fault_of_weights()
    };
    let empty = |number: usize| format!(r#""{number}":{{"dtype":"F16","shape":[0],"data_offsets":[0,0]}}"#);
    let many = (0..70_000).map(empty).collect::<Vec<_>>().join(",");
    assert_names(&with_header(format!("{{{many}}}").as_bytes()), &[ONE, "more than 65536 entries"]);
    assert_names(&with_header(&vec![b' '; (16 << 20) + 1]), &[ONE, "16777217", "at most 16777216"]);
    let deep = format!(r#"{{"w":{{"dtype":"F16","shape":[{}0],"data_offsets":[0,0]}}}}"#, "1,".repeat(100_000));
    let message = with_header(deep.as_bytes());
    assert_names(&message, &[ONE, "`w`", "100001 dimensions"]);
    assert!(message.len() < 300, "{} bytes of message", message.len());
}

#[test]
fn what_stands_twice_in_a_small_file_is_refused_by_its_name() {
    let twice = |fixture: &str, file: &str, entry: &str| {
        let copy = Copy::of(fixture);
        copy.change(file, |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let (before, line) = text.split_at(text.find(entry).unwrap());
            let line_end = line.find('\n').unwrap();
            *bytes = format!("{before}{}\n{line}", line[..line_end].trim_end_matches(',').to_owned() + ",").into_bytes();
        });
        copy.only_fault()
    };
    assert_names(&twice("preln-fp32", "config.json", "\"ffn_dim\""), &["config.json", "`ffn_dim`", "twice"]);
    let (index, name) = ("model.safetensors.index.json", "model.decoder.layers.0.fc1.weight");
    assert_names(&twice("postln-proj-bf16-sharded", index, &format!("\"{name}\"")), &[index, name, "twice"]);
}

#[test]
fn a_header_that_only_we_could_read_is_refused() {
    let with = |header: &[u8]| {
        let header = header.to_vec();
        Copy::of("preln-fp32")
            .change(ONE, |bytes| *bytes = [&(header.len() as u64).to_le_bytes(), &header[..], &[0; 2]].concat())
            .only_fault_of_weights()
    };
    let tensor = r#""w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#;
    assert_names(&with(format!(r#"{{"__metadata__":{{"format":1}},{tensor}"#).as_bytes()), &[ONE, "header", "string"]);
    assert_names(&with(format!(r#"{{"__metadata__":{{}},"__metadata__":{{}},{tensor}"#).as_bytes()), &[ONE, "header", "twice"]);
    let not_text = [br#"{"__metadata__":{"format":"p"#.as_slice(), b"\xff", br#""},"#, tensor.as_bytes()].concat();
    assert_names(&with(&not_text), &[ONE, "header", "utf-8"]);
}

#[test]
fn a_refusal_does_not_quote_a_whole_file() {
    let name = "n".repeat(1 << 20);
    let copy = Copy::of("preln-fp32");
    copy.change_header(ONE, |header| {
        let first = header["model.decoder.embed_tokens.weight"].take();
        header.as_object_mut().unwrap().remove("model.decoder.embed_tokens.weight");
        header[&name] = first;
    });
    let faults = copy.faults();
    assert_eq!(faults.len(), 2, "one tensor is missing, one is of no use");
    assert!(faults.iter().all(|fault| fault.len() < 3000));
}

impl Copy {
    /// The first fault of the weight file itself; what then is missing from the model follows from it.
    fn only_fault_of_weights(&self) -> String {
        tensors(&self.checkpoint()).unwrap_err().to_string()
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused_by_place() {
    for (name, bits) in [
        ("preln-fp32", f32::NAN.to_le_bytes().to_vec()),
        ("preln-hd80-fp16", vec![0x00, 0x7c]),
        ("preln-hd64-outlier-bf16", vec![0x80, 0xff]),
    ] {
        let copy = Copy::of(name);
        copy.change(ONE, |bytes| {
            let end = bytes.len() - bits.len();
            bytes[end..].copy_from_slice(&bits);
        });
        assert_names(&copy.only_fault(), &[ONE, "NaN or infinite"]);
    }
}

#[test]
fn every_fault_is_named_not_only_the_first() {
    let copy = Copy::of("preln-fp32");
    copy.change_json("config.json", |config| {
        config["num_hidden_layers"] = json!(3);
        config["ffn_dim"] = json!(130);
    });
    let faults = copy.faults();
    // Sixteen tensors of the third layer are missing, and fc1's weight and bias and fc2's weight are of another width in two.
    assert_eq!(faults.len(), 16 + 2 * 3, "{faults:#?}");
    assert_names(&faults.join("\n"), &["layers.2.fc1.weight", "layers.1.fc2.weight", "[64, 130]"]);
}

#[test]
fn tensors_the_model_has_no_use_for_are_refused() {
    let no_bias = Copy::of("preln-fp32");
    no_bias.change_json("config.json", |config| config["enable_bias"] = json!(false));
    assert_eq!(no_bias.faults().len(), 12);
    assert_names(&no_bias.faults()[0], &["bias", "no weight"]);
    assert!(matches!(Model::load(&no_bias.checkpoint(), &LoadOptions::default()), Err(Error::Unsupported { .. })));
}

#[test]
fn the_widest_layer_the_config_allows_is_computed_and_a_wider_one_is_refused_at_load() {
    let load = |ffn_dim: u64, precision| {
        let dir = tempfile::tempdir().unwrap();
        let config = json!({
            "model_type": "opt", "vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
            "ffn_dim": ffn_dim, "max_position_embeddings": 16,
        });
        let mut model = Model::load(&zeros(dir.path(), &config), &LoadOptions { precision, threads: 1, ..LoadOptions::default() })?;
        let mut kv = inference::Kv::in_blocks(vec![0]);
        let logits = model.forward(&mut [inference::Span { tokens: &[2, 3], kv: &mut kv, logits_from: 1 }])?;
        assert_eq!(logits, [0.0; 8]);
        Ok::<_, Error>(())
    };
    for precision in Precision::ALL {
        load(1 << 16, precision).unwrap();
    }
    assert_names(&load(70_000, Precision::Exact).unwrap_err().to_string(), &["config.json", "`ffn_dim`", "65536"]);
}

#[test]
fn an_untied_head_is_used_and_must_be_there() {
    let with = Copy::of("preln-fp16-sharded");
    with.change_json("config.json", |config| config["tie_word_embeddings"] = json!(false));
    // The stored head equals the embedding, so the answers are the same.
    let logits = |checkpoint: &Checkpoint| {
        let mut model = Model::load(checkpoint, &LoadOptions::default()).unwrap();
        let mut kv = inference::Kv::in_blocks(vec![0]);
        model.forward(&mut [inference::Span { tokens: &[2, 3], kv: &mut kv, logits_from: 1 }]).unwrap().to_vec()
    };
    assert_eq!(logits(&with.checkpoint()), logits(&Copy::of("preln-fp16-sharded").checkpoint()));
    let without = Copy::of("preln-fp32");
    without.change_json("config.json", |config| config["tie_word_embeddings"] = json!(false));
    assert_names(&without.only_fault(), &["lm_head.weight", "missing"]);
}

#[test]
fn an_index_that_does_not_fit_its_shards_is_refused() {
    let index = "model.safetensors.index.json";
    let name = "model.decoder.layers.0.fc1.weight";
    let spoiled = |change: &dyn Fn(&mut Value)| Copy::of("postln-proj-bf16-sharded").change_json(index, change).only_fault();
    assert_names(&spoiled(&|json| json["weight_map"][name] = json!("model-00002-of-00002.safetensors")), &[index, name]);
    assert_names(&spoiled(&|json| _ = json["weight_map"].as_object_mut().unwrap().remove(name)), &[index, name]);
    assert_names(&spoiled(&|json| json["weight_map"]["extra"] = json!("model-00002-of-00002.safetensors")), &[index, "extra"]);
    let outside = Copy::of("postln-proj-bf16-sharded");
    outside.change_json(index, |json| json["weight_map"][name] = json!("../../etc/passwd"));
    assert_names(&outside.only_fault(), &[index, "etc/passwd"]);
    let not_text = Copy::of("postln-proj-bf16-sharded");
    not_text.change(index, |bytes| {
        let place = bytes.windows(10).position(|word| word == b"total_size").unwrap();
        bytes[place] = 0xff;
    });
    assert_names(&not_text.only_fault(), &[index, "utf-8"]);
    let gone = Copy::of("postln-proj-bf16-sharded");
    fs::remove_file(gone.path("model-00002-of-00002.safetensors")).unwrap();
    assert_names(&gone.faults().join("\n"), &["model-00002-of-00002.safetensors: is missing"]);
    assert!(matches!(tensors(&gone.checkpoint()), Err(Error::Missing { .. })));
}

/// OPT's special tokens and one token for each byte.
fn byte_tokenizer() -> Value {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let shifted = (0x100..).take((0..256).filter(|byte| !printable(byte)).count());
    let alphabet = (0..256).filter(printable).chain(shifted).map(|code| char::from_u32(code).unwrap().to_string());
    let vocab: BTreeMap<String, u32> = ["<s>", "<pad>", "</s>", "<unk>"].map(str::to_owned).into_iter().chain(alphabet).zip(0..).collect();
    serde_json::from_slice(&build_tokenizer_json(&serde_json::to_vec(&vocab).unwrap(), b"", None).unwrap()).unwrap()
}

#[test]
fn a_tokenizer_of_another_kind_or_of_another_model_is_refused() {
    let beside = |config: &dyn Fn(&mut Value), tokenizer: &dyn Fn(&mut Value)| {
        let copy = Copy::of("preln-fp32");
        let mut json = byte_tokenizer();
        tokenizer(&mut json);
        fs::write(copy.path("tokenizer.json"), serde_json::to_vec(&json).unwrap()).unwrap();
        copy.change_json("config.json", config);
        let faults = copy.faults();
        assert_eq!(Engine::load(&copy.checkpoint(), &LoadOptions::default()).is_ok(), faults.is_empty(), "{faults:?}");
        faults.join("\n")
    };
    let same: &dyn Fn(&mut Value) = &|_| {};
    assert_eq!(beside(same, same), "");
    let words = json!({ "type": "WordLevel", "vocab": { "a": 0, "</s>": 2 }, "unk_token": "a" });
    assert_names(&beside(same, &|json| json["model"] = words.clone()), &["tokenizer.json", "model", "BPE"]);
    assert_names(&beside(same, &|json| json["decoder"] = Value::Null), &["tokenizer.json", "decoder", "ByteLevel"]);
    let adds = |id: u32| move |json: &mut Value| json["post_processor"]["special_tokens"]["</s>"]["ids"] = json!([id]);
    for id in [260, 319, 320, u32::MAX] {
        assert_names(&beside(same, &adds(id)), &["tokenizer.json", &format!("the id {id}"), "every text"]);
    }
    assert_names(&beside(same, &|json| json["model"]["vocab"]["new"] = json!(320)), &["tokenizer.json", "id 320", "320 rows"]);
    for field in ["eos_token_id", "bos_token_id"] {
        assert_names(&beside(&|config| config[field] = json!(300), same), &["tokenizer.json", "no token 300", field]);
    }
    assert_names(&beside(&|config| config["eos_token_id"] = json!([2, 4_000_000_000u32]), same), &["no token 4000000000", "eos_token_id"]);
}

#[test]
fn a_tokenizer_far_smaller_than_the_vocabulary_is_refused() {
    let of_rows = |vocab_size: u64| {
        let dir = tempfile::tempdir().unwrap();
        let config = json!({
            "model_type": "opt", "vocab_size": vocab_size, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
            "ffn_dim": 8, "max_position_embeddings": 16,
        });
        fs::write(dir.path().join("tokenizer.json"), serde_json::to_vec(&byte_tokenizer()).unwrap()).unwrap();
        let checkpoint = zeros(dir.path(), &config);
        let loaded = Engine::load(&checkpoint, &LoadOptions::default()).map(drop).map_err(|error| error.to_string());
        assert_eq!(loaded.is_ok(), verify(&checkpoint, &|_| {}).is_empty());
        loaded
    };
    of_rows(4096).unwrap();
    assert_names(&of_rows(50_272).unwrap_err(), &["tokenizer.json", "260 tokens", "50272 rows"]);
}

#[test]
fn a_model_larger_than_the_machine_is_refused_with_the_numbers_before_it_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    // 7 TB of weights.
    let config = json!({
        "model_type": "opt", "vocab_size": 8, "hidden_size": 16384, "num_hidden_layers": 1024, "num_attention_heads": 128,
        "ffn_dim": 65536, "max_position_embeddings": 16,
    });
    let refused = Engine::load(&zeros(dir.path(), &config), &LoadOptions::default()).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { limit: MemoryLimit::Machine, .. }), "{refused}");
    assert_names(&refused.to_string(), &["GiB of memory", "this machine has", "int4", "smaller model"]);
}

#[test]
fn a_folder_without_config_or_weights_says_what_to_add() {
    let empty = tempfile::tempdir().unwrap();
    assert_names(&Checkpoint::open_dir(empty.path()).unwrap_err().to_string(), &["config.json", "add it"]);
    fs::write(empty.path().join("config.json"), r#"{"model_type": "opt"}"#).unwrap();
    let checkpoint = Checkpoint::open_dir(empty.path()).unwrap();
    assert_names(&tensors(&checkpoint).unwrap_err().to_string(), &["model.safetensors", "pytorch_model.bin"]);
    let names = BTreeMap::from([("../config.json".to_owned(), PathBuf::from("/dev/null"))]);
    assert!(Checkpoint::from_files(names).is_err());
}

#[test]
fn a_file_beside_the_model_is_checked_by_itself() {
    let lying = Copy::of("preln-fp32");
    lying.change_header(ONE, |header| header["extra"] = json!({ "dtype": "F16", "shape": [1], "data_offsets": [0, 2] }));
    let faults = |copy: &Copy| verify_file("original/x.safetensors", &copy.path(ONE), &|_| {});
    assert_eq!(faults(&Copy::of("preln-fp32")), []);
    assert_names(&faults(&lying)[0].to_string(), &["original/x.safetensors", "overlaps"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_changed_bytes_make_reading_panic(bin: bool, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), near_the_end: bool) {
        let (fixture, file) = if bin { ("postln-proj-fp16-bin", "pytorch_model.bin") } else { ("preln-fp32", ONE) };
        let mut bytes = fs::read(fixtures().join(fixture).join(file)).unwrap();
        // Headers stand at the front of one format and at the end of the other.
        let from = if near_the_end { bytes.len().saturating_sub(4000) } else { 0 };
        let to = if near_the_end { bytes.len() } else { 4000 };
        for (place, byte) in changes {
            bytes[from + place.index(to - from)] = byte;
        }
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(file), bytes).unwrap();
        fs::copy(fixtures().join(fixture).join("config.json"), scratch.path().join("config.json")).unwrap();
        let _ = verify(&Checkpoint::open_dir(scratch.path()).unwrap(), &|_| {});
    }
}
