//! The `logprobs` object of a choice: tokens, their log-probabilities, alternatives, and where each begins in the text.

use std::collections::BTreeMap;

use inference::{PromptToken, Tokenizer};
use serde::Serialize;

/// Below this a log-probability says nothing, and JSON has no −∞.
const LEAST: f32 = -9999.0;

/// The log-probabilities of some tokens in a row, as the contract spells them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Logprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f32>>,
    top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    text_offset: Vec<usize>,
}

/// Where the next token begins, in characters of the text.
#[derive(Debug, Default)]
pub(super) struct Offset {
    characters: usize,
}

impl Offset {
    /// The place of a token that prints `bytes`, and moves behind it. A token that begins inside a character begins where that does.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let continues = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
        let place = self.characters - usize::from(bytes.first().is_some_and(continues) && self.characters > 0);
        self.characters += bytes.iter().filter(|byte| !continues(byte)).count();
        place
    }
}

impl Logprobs {
    /// Adds a token that was made.
    pub(super) fn push(&mut self, tokenizer: Option<&Tokenizer>, offset: &mut Offset, id: u32, logprob: Option<f32>, top: &[(u32, f32)]) {
        let name = |id| token_name(tokenizer, id);
        self.text_offset.push(offset.pass(tokenizer.map_or(&[], |tokenizer| tokenizer.bytes(id))));
        self.token_logprobs.push(logprob.map(at_least));
        // The token itself is always among the alternatives, even if it was an unlikely one.
        self.top_logprobs.push(
            logprob.map(|own| top.iter().map(|(id, logprob)| (name(*id), at_least(*logprob))).chain([(name(id), at_least(own))]).collect()),
        );
        self.tokens.push(name(id));
    }

    /// Adds the tokens of an echoed prompt; nothing is known of the first.
    pub(super) fn push_prompt(&mut self, tokenizer: Option<&Tokenizer>, offset: &mut Offset, prompt: &[PromptToken]) {
        for token in prompt {
            self.push(tokenizer, offset, token.id, token.logprob, &token.top);
        }
    }
}

fn at_least(logprob: f32) -> f32 {
    // NaN would become null in JSON; the engine gives none.
    logprob.max(LEAST)
}

/// A token's name: its text, or its bytes where they are no text by themselves (`bytes:\xe2\x80`), so that no two tokens share one.
fn token_name(tokenizer: Option<&Tokenizer>, id: u32) -> String {
    let Some(tokenizer) = tokenizer else { return format!("token_id:{id}") };
    let bytes = tokenizer.bytes(id);
    match std::str::from_utf8(bytes) {
        Ok("") => tokenizer.token_text(id).unwrap_or_else(|| format!("token_id:{id}")),
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("bytes:".to_owned(), |name, byte| format!("{name}\\x{byte:02x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_characters_and_a_split_character_once() {
        let mut offset = Offset::default();
        let pieces: [&[u8]; 6] = [b"", b"a", "é".as_bytes(), &[0xf0, 0x9f], &[0x98, 0x80], b"z"];
        let places: Vec<usize> = pieces.iter().map(|bytes| offset.pass(bytes)).collect();
        assert_eq!(places, [0, 0, 1, 2, 2, 3]);
    }
}
