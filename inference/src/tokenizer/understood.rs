//! Which tokenizers are understood: byte-level BPE and what stands around it in the family of OPT. Looked at before the `tokenizers` crate
//! sees the file, which panics on some that contradict themselves, and draws lots or searches without end where a file asks for it.

use serde::Deserialize;
use serde_json::Value;

use super::TOKENIZER_FILE;
use crate::error::Error;

/// What tokenizer.json asks for; vocabulary and merges, which are most of it, are skipped here.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    r#type: Value,
    #[serde(default)]
    dropout: Value,
    #[serde(default)]
    continuing_subword_prefix: Value,
    #[serde(default)]
    end_of_word_suffix: Value,
}

/// `Unsupported` names the part that is not understood, `Corrupt` says why it is no tokenizer at all.
pub(super) fn check(json: &[u8]) -> Result<(), Error> {
    let not_one = |problem: String| Error::corrupt(TOKENIZER_FILE, format!("is not a tokenizer: {problem}"));
    let text = str::from_utf8(json).map_err(|problem| not_one(problem.to_string()))?;
    let asked: Asked = serde_json::from_str(text).map_err(|problem| not_one(problem.to_string()))?;
    let model = &asked.model;
    if model.r#type != "BPE" {
        return Err(unsupported("model", "is not BPE; OPT's tokenizers are byte-level BPE"));
    }
    if !(model.dropout.is_null() || model.dropout.as_f64() == Some(0.0)) {
        return Err(unsupported("model.dropout", "draws lots, so that a text would not always have the same tokens; leave it out"));
    }
    for (part, affix) in
        [("model.continuing_subword_prefix", &model.continuing_subword_prefix), ("model.end_of_word_suffix", &model.end_of_word_suffix)]
    {
        if !(affix.is_null() || *affix == "") {
            return Err(unsupported(part, "is set; byte-level tokenizers mark words by their spaces alone"));
        }
    }
    if kind(&asked.decoder) != "ByteLevel" {
        return Err(unsupported("decoder", "is not ByteLevel; OPT's tokenizers are byte-level"));
    }
    each("normalizer", "normalizers", &asked.normalizer, &|part| match kind(part) {
        "NFC" | "NFD" | "NFKC" | "NFKD" => Ok(()),
        _ => Err(unsupported("normalizer", "changes the text in another way than Unicode's normal forms do")),
    })?;
    let pieces = each("pre_tokenizer", "pretokenizers", &asked.pre_tokenizer, &|part| match kind(part) {
        "ByteLevel" | "Digits" | "Punctuation" => Ok(()),
        "Split" if part["pattern"]["String"].as_str().is_some_and(|pattern| !pattern.is_empty()) => Ok(()),
        _ => Err(unsupported("pre_tokenizer", "is none of ByteLevel, Digits, Punctuation and Split by a text")),
    })?;
    if pieces.iter().filter(|part| kind(part) == "ByteLevel").count() != 1 {
        return Err(unsupported("pre_tokenizer", "is not ByteLevel; OPT's tokenizers are byte-level"));
    }
    each("post_processor", "processors", &asked.post_processor, &|part| match kind(part) {
        "ByteLevel" => Ok(()),
        "TemplateProcessing" => template(part),
        _ => Err(unsupported("post_processor", "is neither ByteLevel nor TemplateProcessing")),
    })?;
    Ok(())
}

/// The text must stand in the template once, and every other token must be one it explains.
fn template(part: &Value) -> Result<(), Error> {
    let wrong = || unsupported("post_processor.single", "is not the text with known special tokens around it");
    let mut texts = 0;
    for piece in part["single"].as_array().ok_or_else(wrong)? {
        match (piece.get("Sequence"), piece.get("SpecialToken")) {
            (Some(text), None) if text["id"] == "A" => texts += 1,
            (None, Some(token)) if token["id"].as_str().is_some_and(|id| !part["special_tokens"][id].is_null()) => {}
            _ => return Err(wrong()),
        }
    }
    if texts == 1 { Ok(()) } else { Err(wrong()) }
}

/// Checks a part, or each of those it is a sequence of, and gives them. None is an empty sequence.
fn each<'a>(part: &str, list: &str, value: &'a Value, check: &dyn Fn(&'a Value) -> Result<(), Error>) -> Result<Vec<&'a Value>, Error> {
    let parts: Vec<&Value> = match value {
        Value::Null => Vec::new(),
        _ if kind(value) == "Sequence" => {
            value[list].as_array().ok_or_else(|| unsupported(part, format!("is a sequence without {list}")))?.iter().collect()
        }
        one => vec![one],
    };
    parts.iter().try_for_each(|part| check(part))?;
    Ok(parts)
}

fn kind(part: &Value) -> &str {
    part["type"].as_str().unwrap_or_default()
}

fn unsupported(part: &str, problem: impl Into<String>) -> Error {
    Error::unsupported(format!("{TOKENIZER_FILE}: {part}"), problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use serde_json::{Value, json};

    use crate::tokenizer::Tokenizer;

    /// A tokenizer of two letters, with one of its parts (by JSON pointer) replaced.
    fn with(place: &str, part: Value) -> Result<Tokenizer, crate::Error> {
        let vocab = br#"{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6}"#;
        let mut json: Value = serde_json::from_slice(&crate::checkpoint::build_tokenizer_json(vocab, b"a b", None).unwrap()).unwrap();
        *json.pointer_mut(place).unwrap() = part;
        Tokenizer::from_json(&serde_json::to_vec(&json).unwrap(), Some(7))
    }

    #[track_caller]
    fn refused(place: &str, part: Value, named: &str) {
        let message = with(place, part).unwrap_err().to_string();
        assert!(message.contains(named), "{message:?} should name {named:?}");
    }

    #[test]
    fn a_template_that_contradicts_itself_is_refused_and_not_met_when_a_prompt_comes() {
        refused("/post_processor/special_tokens", json!({}), "post_processor.single");
        refused("/post_processor/single", json!([{ "Sequence": { "id": "B", "type_id": 0 } }]), "post_processor.single");
        refused("/post_processor/single", json!([]), "post_processor.single");
        refused("/post_processor/special_tokens/<~1s>/ids", json!([2, 7]), "the id 7");
    }

    #[test]
    fn what_draws_lots_or_searches_without_end_is_refused() {
        refused("/model/dropout", json!(0.5), "model.dropout");
        assert_eq!(with("/model/dropout", json!(0.0)).unwrap().encode("ab").unwrap(), [2, 6]);
        let search = json!({ "type": "Split", "pattern": { "Regex": "(a+)+$" }, "behavior": "Isolated", "invert": false });
        refused("/pre_tokenizer", json!({ "type": "Sequence", "pretokenizers": [search] }), "pre_tokenizer");
    }

    #[test]
    fn what_is_not_byte_level_is_refused() {
        refused("/pre_tokenizer", Value::Null, "pre_tokenizer");
        refused("/pre_tokenizer", json!({ "type": "Whitespace" }), "pre_tokenizer");
        refused("/decoder", Value::Null, "decoder");
        refused("/normalizer", json!({ "type": "Lowercase" }), "normalizer");
        refused("/model/type", json!("WordLevel"), "model");
        refused("/model/continuing_subword_prefix", json!("##"), "model.continuing_subword_prefix");
    }

    #[test]
    fn galacticas_way_of_cutting_texts_is_understood() {
        let marker = json!({ "type": "Split", "pattern": { "String": "SPL1T" }, "behavior": "Removed", "invert": false });
        let digits = json!({ "type": "Digits", "individual_digits": true });
        let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        let pieces = json!({ "type": "Sequence", "pretokenizers": [marker, digits, bytes] });
        assert_eq!(with("/pre_tokenizer", pieces).unwrap().encode("abSPL1Ta").unwrap(), [2, 6, 4]);
    }
}
