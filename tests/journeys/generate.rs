//! `sluice generate`, `sluice convert` and `sluice bench`: the engine in a terminal, without a portal.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::Installation;

fn folder(path: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    path.to_str().unwrap().to_owned()
}

/// `sluice generate … --json` on a folder, parsed.
fn generated(here: &Installation, dir: &str, arguments: &[&str]) -> Value {
    let mut all = vec!["generate", dir, "--json", "--temperature", "0"];
    all.extend(arguments);
    serde_json::from_str(&here.run(&all)).unwrap()
}

fn ids(list: &Value) -> String {
    list.as_array().unwrap().iter().map(Value::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn a_folder_without_tokenizer_continues_ids_as_was_recorded() {
    let here = Installation::fresh();
    let dir = folder("inference/tests/fixtures/opt/preln-fp32");
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(format!("{dir}/expected.json")).unwrap()).unwrap();
    let (_, prompt) = expected["prompts"].as_object().unwrap().iter().next().unwrap();
    let greedy = prompt["greedy_ids"].as_array().unwrap();
    let length = greedy.len().to_string();
    let answer =
        generated(&here, &dir, &["--prompt-ids", &ids(&prompt["input_ids"]), "--max-tokens", &length, "--ignore-eos", "--logprobs", "1"]);
    assert_eq!(answer["token_ids"], prompt["greedy_ids"]);
    for (own, recorded) in answer["token_logprobs"].as_array().unwrap().iter().zip(prompt["greedy_logprobs"].as_array().unwrap()) {
        assert!((own.as_f64().unwrap() - recorded.as_f64().unwrap()).abs() < 1e-3, "{own} and {recorded}");
    }
    assert_eq!(answer["top_logprobs"][0], json!([[answer["token_ids"][0], answer["token_logprobs"][0]]]));
}

#[test]
fn text_comes_as_it_is_made_and_is_what_json_tells() {
    let here = Installation::fresh();
    let dir = folder("deploy/demo/opt-verse-6m");
    let answer = generated(&here, &dir, &["--prompt", "The sea was", "--max-tokens", "20", "--echo", "--logprobs", "0"]);
    let plain = here.run(&["generate", &dir, "--prompt", "The sea was", "--max-tokens", "20", "--temperature", "0", "--echo"]);
    assert_eq!(plain, answer["text"].as_str().unwrap().trim_end());
    assert!(plain.starts_with("The sea was"));
    assert_eq!(answer["prompt_logprobs"].as_array().unwrap().len() as u64, answer["usage"]["prompt_tokens"].as_u64().unwrap());
    assert!(answer["prompt_logprobs"][0].is_null() && answer["prompt_logprobs"][1].as_f64().unwrap() < 0.0);
    assert_eq!((&answer["finish_reason"], &answer["usage"]["completion_tokens"]), (&json!("length"), &json!(20)));
}

#[test]
fn converted_weights_say_the_same() {
    let here = Installation::fresh();
    let from = folder("inference/tests/fixtures/opt/preln-fp16-bin-sharded");
    let target = tempfile::tempdir().unwrap();
    let out = target.path().join("converted");
    // What a conversion that was killed may have left: a file cut short, and one of another model.
    let partial = target.path().join("converted.partial");
    std::fs::create_dir(&partial).unwrap();
    std::fs::write(partial.join("model.safetensors.partial"), "cut").unwrap();
    std::fs::write(partial.join("model-00001-of-00002.safetensors"), "another's").unwrap();
    let out = out.to_str().unwrap();
    let names = here.run(&["convert", &from, out]);
    assert!(names.lines().any(|name| name == "model.safetensors") && !names.contains(".bin"), "{names}");
    let mut there: Vec<_> = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    assert_eq!(there, names.lines().collect::<Vec<_>>(), "what it says is what is there");
    assert!(!partial.exists());
    let ask = ["--prompt-ids", "2,17,5", "--max-tokens", "12", "--ignore-eos", "--logprobs", "2"];
    assert_eq!(generated(&here, &from, &ask), generated(&here, out, &ask));

    let again = here.output(&["convert", &from, out]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
}

#[test]
fn what_cannot_be_is_said_with_the_field() {
    let here = Installation::fresh();
    let demo = folder("deploy/demo/opt-verse-6m");
    let bare = folder("inference/tests/fixtures/opt/preln-fp32");
    for (arguments, status, words) in [
        (vec!["generate", &demo, "--prompt", "x", "--temperature", "5"], 2, "temperature"),
        (vec!["generate", &demo, "--prompt-ids", "999999"], 2, "999999"),
        (vec!["generate", &demo], 2, "--prompt"),
        (vec!["generate", &bare, "--prompt", "x"], 2, "token ids"),
        (vec!["generate", "nowhere", "--prompt", "x"], 2, "neither a folder nor a model"),
        (vec!["generate", "/tmp", "--prompt", "x"], 1, "config.json"),
    ] {
        let output = here.output(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_measurement_is_one_line_of_json_with_the_machines_limit_beside_it() {
    let here = Installation::fresh();
    let dir = folder("deploy/demo/opt-verse-6m");
    let text = folder("deploy/demo/opt-verse-6m/valid.txt");
    let beginning: String = std::fs::read_to_string(text).unwrap().chars().take(3_000).collect();
    let file = here.data().with_extension("txt");
    std::fs::write(&file, beginning).unwrap();
    let quick = ["--prompt", "8", "--new", "8", "--prefill", "16", "--repeat", "1", "--json"];
    let cache = here.data().with_extension("packed");
    let mut arguments = vec!["bench", &dir, "--precision", "exact,int8", "--batch", "1,2", "--perplexity", file.to_str().unwrap()];
    arguments.extend(["--cache", cache.to_str().unwrap()]);
    arguments.extend(quick);
    let rows: Vec<Value> = here.run(&arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named = |row: &Value| (row["precision"].as_str().unwrap().to_owned(), row["batch"].as_u64().unwrap());
    let order = [("exact", 1), ("exact", 2), ("int8", 1), ("int8", 2)].map(|(precision, batch)| (precision.to_owned(), batch));
    assert_eq!(rows.iter().map(named).collect::<Vec<_>>(), order);
    for row in &rows {
        for number in [
            "decode_tokens_per_s",
            "prefill_tokens_per_s",
            "load_s",
            "cached_load_s",
            "peak_rss_bytes",
            "read_bandwidth_bytes_per_s",
            "bandwidth_share",
        ] {
            assert!(row[number].as_f64().unwrap() > 0.0, "{number} in {row}");
        }
    }
    let (exact, int8) = (&rows[0], &rows[2]);
    assert!(int8["weights_bytes"].as_u64().unwrap() < exact["weights_bytes"].as_u64().unwrap());
    // What the demo model was trained to (deploy/demo/README.md tells how), on text it has not seen.
    assert!((2.0..200.0).contains(&exact["perplexity"].as_f64().unwrap()), "{exact}");
    assert_eq!(exact["perplexity_to_exact"], json!(0.0));
    assert!(int8["perplexity_to_exact"].as_f64().unwrap().abs() < 0.005, "{int8}");
}

#[test]
fn a_measurement_that_cannot_be_is_refused_before_anything_is_loaded() {
    let here = Installation::fresh();
    let dir = folder("deploy/demo/opt-verse-6m");
    let output = here.output(&["bench", &dir, "--batch", "0", "--prompt", "4000", "--prefill", "9000"]);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert!(["--batch", "--prompt and --new", "--prefill"].iter().all(|option| complaint.contains(option)), "{complaint}");
}

#[test]
fn a_result_that_nobody_takes_ends_the_command_quietly_and_one_that_cannot_be_written_is_told() {
    let here = Installation::fresh();
    let dir = folder("deploy/demo/opt-verse-6m");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = here.sluice(&["digest", &dir]).stdout(writer).stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && !said.contains("panicked") && !said.contains("Broken pipe"), "{said}");

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = here.sluice(&["digest", &dir]).stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("the result cannot be written"), "{said}");
}
