//! tokenizer.json from vocab.json and merges.txt, which is all the published OPT repositories carry: GPT-2's byte-level BPE
//! with OPT's special tokens, and `</s>` put in front of every text.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::entries::Entries;
use crate::error::Error;

const VOCAB: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const CONFIG: &str = "tokenizer_config.json";

/// Builds tokenizer.json. `tokenizer_config`, where there is one, may rename the special tokens, leave out the leading one, or
/// ask for a leading space; without it OPT's own settings hold. `Corrupt` names the file and the entry that does not fit.
pub fn build_tokenizer_json(vocab: &[u8], merges: &[u8], tokenizer_config: Option<&[u8]>) -> Result<Vec<u8>, Error> {
    let Entries(vocab) =
        serde_json::from_slice(vocab).map_err(|problem| Error::corrupt(VOCAB, format!("is not a map from tokens to ids: {problem}")))?;
    let vocab: HashMap<String, u32> = vocab.into_iter().collect();
    let mut by_id: Vec<(&str, u32)> = vocab.iter().map(|(token, id)| (token.as_str(), *id)).collect();
    by_id.sort_by_key(|(_, id)| *id);
    if let Some(pair) = by_id.windows(2).find(|pair| pair[0].1 == pair[1].1) {
        return Err(Error::corrupt(VOCAB, format!("gives id {} to both {:?} and {:?}", pair[0].1, pair[0].0, pair[1].0)));
    }
    let merges = read_merges(merges, &vocab)?;
    let settings = Settings::read(tokenizer_config)?;

    let special = [&settings.bos, &settings.eos, &settings.unk, &settings.pad];
    let mut special: Vec<(&str, u32)> = special
        .into_iter()
        .map(|token| {
            let id = vocab.get(token).ok_or_else(|| Error::corrupt(VOCAB, format!("lacks the special token {token:?}")))?;
            Ok((token.as_str(), *id))
        })
        .collect::<Result<_, Error>>()?;
    special.sort_by_key(|(_, id)| *id);
    special.dedup();

    let added: Vec<Value> = special
        .iter()
        .map(|(token, id)| {
            json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": true, "special": true })
        })
        .collect();
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": settings.add_prefix_space, "trim_offsets": true, "use_regex": true });
    let built = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": post_processor(&settings, &vocab),
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": by_id.iter().map(|(token, id)| ((*token).to_owned(), json!(id))).collect::<Map<String, Value>>(),
            "merges": merges,
        },
    });
    let mut json = serde_json::to_vec_pretty(&built).map_err(|problem| Error::Internal { problem: problem.to_string() })?;
    json.push(b'\n');
    Ok(json)
}

/// Puts the beginning-of-text token in front, or nothing.
fn post_processor(settings: &Settings, vocab: &HashMap<String, u32>) -> Value {
    if !settings.add_bos_token {
        return json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true });
    }
    let bos = settings.bos.as_str();
    let token = json!({ "SpecialToken": { "id": bos, "type_id": 0 } });
    let first = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let second = json!({ "Sequence": { "id": "B", "type_id": 1 } });
    json!({
        "type": "TemplateProcessing",
        "single": [token, first],
        "pair": [token, first, token, second],
        "special_tokens": { bos: { "id": bos, "ids": [vocab[bos]], "tokens": [bos] } },
    })
}

/// The pairs of merges.txt in their order, each known to the vocabulary.
fn read_merges(merges: &[u8], vocab: &HashMap<String, u32>) -> Result<Vec<[String; 2]>, Error> {
    let merges = str::from_utf8(merges).map_err(|problem| Error::corrupt(MERGES, format!("is not UTF-8: {problem}")))?;
    let mut pairs = Vec::new();
    for (number, line) in merges.lines().enumerate() {
        if line.is_empty() || (number == 0 && line.starts_with("#version")) {
            continue;
        }
        let wrong = |problem: &str| Error::corrupt(MERGES, format!("line {}, {line:?}: {problem}", number + 1));
        let (left, right) = line.split_once(' ').ok_or_else(|| wrong("two tokens with a space between are expected"))?;
        if let Some(unknown) = [left, right, &format!("{left}{right}")].into_iter().find(|token| !vocab.contains_key(*token)) {
            return Err(wrong(&format!("{unknown:?} is not in vocab.json")));
        }
        pairs.push([left.to_owned(), right.to_owned()]);
    }
    Ok(pairs)
}

/// What tokenizer_config.json may say that matters here.
struct Settings {
    bos: String,
    eos: String,
    unk: String,
    pad: String,
    add_bos_token: bool,
    add_prefix_space: bool,
}

impl Settings {
    fn read(json: Option<&[u8]>) -> Result<Self, Error> {
        let Entries(fields) = match json {
            None => Entries(Vec::new()),
            Some(json) => {
                serde_json::from_slice(json).map_err(|problem| Error::corrupt(CONFIG, format!("is not a JSON object: {problem}")))?
            }
        };
        let fields: Map<String, Value> = fields.into_iter().collect();
        let wrong = |name: &str, value: &Value| Error::corrupt(CONFIG, format!("`{name}` is {value}, which is not understood"));
        // A token is given as text, or as an object with its text under "content".
        let token = |name: &str, default: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(default.to_owned()),
            Some(value) => {
                value.as_str().or_else(|| value.get("content").and_then(Value::as_str)).map(str::to_owned).ok_or_else(|| wrong(name, value))
            }
        };
        let flag = |name: &str, default: bool| match fields.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| wrong(name, value)),
        };
        Ok(Self {
            bos: token("bos_token", "</s>")?,
            eos: token("eos_token", "</s>")?,
            unk: token("unk_token", "</s>")?,
            pad: token("pad_token", "<pad>")?,
            add_bos_token: flag("add_bos_token", true)?,
            add_prefix_space: flag("add_prefix_space", false)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    const SMALL_VOCAB: &[u8] = br#"{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6}"#;

    fn refusal(vocab: &[u8], merges: &[u8], config: Option<&[u8]>) -> String {
        build_tokenizer_json(vocab, merges, config).unwrap_err().to_string()
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert!(refusal(b"[]", b"", None).contains("vocab.json"));
        assert!(refusal(br#"{"a": 0}"#, b"", None).contains("</s>"));
        assert!(refusal(br#"{"a": 0, "b": 0}"#, b"", None).contains("id 0"));
        assert!(refusal(br#"{"a": 0, "b": 1, "a": 2}"#, b"", None).contains("`a` stands there twice"));
        assert!(refusal(SMALL_VOCAB, b"a b", Some(br#"{"eos_token": "a", "eos_token": "b"}"#)).contains("`eos_token` stands there twice"));
        assert!(refusal(SMALL_VOCAB, b"a b\nab c", None).contains("line 2"));
        assert!(refusal(SMALL_VOCAB, b"a", None).contains("line 1"));
        assert!(refusal(SMALL_VOCAB, b"a b", Some(br#"{"bos_token": 5}"#)).contains("`bos_token`"));
    }

    #[test]
    fn the_leading_token_can_be_left_out() {
        let with = build_tokenizer_json(SMALL_VOCAB, b"#version: 0.2\na b\n", None).unwrap();
        let without = build_tokenizer_json(SMALL_VOCAB, b"a b", Some(br#"{"add_bos_token": false}"#)).unwrap();
        let ids = |json: &[u8]| crate::tokenizer::Tokenizer::from_json(json, None).unwrap().encode("ab").unwrap();
        assert_eq!(ids(&with), [2, 6]);
        assert_eq!(ids(&without), [6]);
    }
}
