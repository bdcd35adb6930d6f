//! Hostile tokenizer files, and any text at all.

use inference::Tokenizer;

use super::files::{CONFIG, Folder, assert_clear};
use super::toy::BYTE_TOKENIZER;

/// Rows of the model the tokenizer belongs to: those of `CONFIG`.
const ROWS: u32 = 320;

/// [`speak`] in a thread of its own: the `tokenizers` crate keeps what it has cut for as long as the thread lives, also of tokenizers
/// that are gone, and a fuzzer makes thousands.
pub fn tokenizer(data: &[u8]) {
    let spoken = std::thread::scope(|scope| scope.spawn(|| speak(data)).join());
    spoken.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Takes the bytes for files with 0xff between, and a text behind the last: tokenizer.json; or vocab.json, merges.txt and
/// tokenizer_config.json; or nothing, and the text goes through a tokenizer that is right.
fn speak(data: &[u8]) {
    let parts: Vec<&[u8]> = data.split(|byte| *byte == 0xff).collect();
    let (text, files) = parts.split_last().unwrap();
    let text = String::from_utf8_lossy(text);
    let files: Vec<(&str, &[u8])> = match *files {
        [] => vec![("tokenizer.json", &BYTE_TOKENIZER)],
        [json] => vec![("tokenizer.json", json)],
        [vocab, merges] => vec![("vocab.json", vocab), ("merges.txt", merges)],
        [vocab, merges, config, ..] => vec![("vocab.json", vocab), ("merges.txt", merges), ("tokenizer_config.json", config)],
    };
    let is_right = parts.len() == 1;
    let folder = Folder::of(&[&[("config.json", CONFIG)], files.as_slice()].concat());
    let json = match folder.checkpoint().tokenizer_json() {
        Err(error) => return assert_clear(&error),
        Ok(json) => json.expect("the files of a tokenizer are there"),
    };
    match Tokenizer::from_json(&json, Some(ROWS as usize)) {
        Err(error) => assert_clear(&error),
        Ok(tokenizer) => {
            speaks(&tokenizer, &text);
            if is_right {
                loses_nothing(&tokenizer, &text);
            }
        }
    }
}

/// What holds of any tokenizer that was taken.
fn speaks(tokenizer: &Tokenizer, text: &str) {
    let ids = match tokenizer.encode(text) {
        Err(error) => return assert_clear(&error),
        Ok(ids) => ids,
    };
    assert_eq!(tokenizer.encode(text).unwrap(), ids, "the same text, the same tokens");
    let mut bytes = Vec::new();
    for id in &ids {
        assert!(*id < ROWS && tokenizer.has_token(*id), "token {id} is none of the model's");
        assert!(tokenizer.token_text(*id).is_some());
        assert!(tokenizer.bytes(*id).len() <= tokenizer.token_bytes_max());
        bytes.extend_from_slice(tokenizer.bytes(*id));
    }
    assert_eq!(tokenizer.decode(&ids), String::from_utf8_lossy(&bytes), "no character is split");
    for id in 0..=ROWS {
        assert!(tokenizer.has_token(id) || (tokenizer.token_text(id).is_none() && tokenizer.bytes(id).is_empty()));
    }
}

/// What holds of a tokenizer with a token for every byte: a text comes back whole, but for the special tokens in it, which print nothing.
fn loses_nothing(tokenizer: &Tokenizer, text: &str) {
    let ids = tokenizer.encode(text).unwrap();
    assert_eq!(ids.first(), Some(&2), "</s> in front");
    assert!(text.len() <= ids.len() * tokenizer.token_bytes_max().max("<pad>".len()));
    if !["<pad>", "</s>"].iter().any(|special| text.contains(special)) {
        assert_eq!(tokenizer.decode(&ids), text);
        assert!(ids[1..].iter().all(|id| !tokenizer.bytes(*id).is_empty()));
    }
}
