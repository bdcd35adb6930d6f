//! Text to token ids, and token ids back to text piece by piece without ever splitting a character.

mod understood;

use std::collections::HashMap;
use std::fmt;

use crate::error::Error;
use crate::opt::OptConfig;

const TOKENIZER_FILE: &str = "tokenizer.json";

/// Up to so many rows a model is a toy, and may have more of them than its tokenizer has tokens.
const ROWS_ALWAYS_ENOUGH: usize = 4096;

/// A byte-level BPE tokenizer, as OPT, GPT-2 and Galactica have it.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// What each id stands for; ids past the end have no token.
    tokens: Vec<Token>,
    token_bytes_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A row of the model's vocabulary without a token.
    Absent,
    /// Marks the text's structure (`</s>`, `<pad>`) and prints nothing.
    Special,
    Bytes(Box<[u8]>),
}

impl Tokenizer {
    /// Reads tokenizer.json. `Unsupported` names the part that is not of a byte-level BPE, `Corrupt` if it is damaged, adds tokens to a
    /// text that are not in its vocabulary, or has ids past the model's rows (`vocab_size`).
    pub fn from_json(json: &[u8], vocab_size: Option<usize>) -> Result<Self, Error> {
        understood::check(json)?;
        let mut inner = tokenizers::Tokenizer::from_bytes(json)
            .map_err(|problem| Error::corrupt(TOKENIZER_FILE, format!("is not a tokenizer: {problem}")))?;
        // Limits are ours to set, and padding is not for generation.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|problem| Error::corrupt(TOKENIZER_FILE, problem.to_string()))?;

        let vocab = inner.get_vocab(true);
        let rows = vocab.values().max().map_or(0, |id| *id as usize + 1);
        // Far above any tokenizer there is: one hostile id must not ask for gigabytes.
        let rows_max = vocab_size.unwrap_or(1 << 20);
        if rows > rows_max {
            return Err(Error::corrupt(TOKENIZER_FILE, format!("has the token id {}, and the model has {rows_max} rows", rows - 1)));
        }
        let byte_of = byte_alphabet();
        let added = inner.get_added_tokens_decoder();
        let mut tokens = vec![Token::Absent; rows];
        for (text, id) in vocab {
            tokens[id as usize] = match added.get(&id) {
                Some(token) if token.special => Token::Special,
                Some(_) => Token::Bytes(text.into_bytes().into()),
                // A token with a character outside the alphabet was not made of bytes: it stands for itself.
                None => Token::Bytes(
                    text.chars().map(|c| byte_of.get(&c).copied()).collect::<Option<_>>().unwrap_or_else(|| text.into_bytes().into()),
                ),
            };
        }
        let token_bytes_max = tokens.iter().map(|token| if let Token::Bytes(bytes) = token { bytes.len() } else { 0 }).max().unwrap_or(0);
        let tokenizer = Self { inner, tokens, token_bytes_max };
        // Of an empty text there is left what the post-processor adds to every text.
        let added = tokenizer.encode("").map_err(|problem| Error::corrupt(TOKENIZER_FILE, format!("fails on an empty text: {problem}")))?;
        match added.into_iter().find(|id| !tokenizer.has_token(*id)) {
            Some(id) => Err(Error::corrupt(TOKENIZER_FILE, format!("adds the id {id} to every text, and has no such token"))),
            None => Ok(tokenizer),
        }
    }

    /// Reads tokenizer.json and compares it with the model it is to speak for. `Corrupt` besides if a token that config.json marks as the
    /// beginning or the end of a text is unknown, or if it leaves most of the model's rows without a token.
    pub(crate) fn for_model(json: &[u8], config: &OptConfig) -> Result<Self, Error> {
        let tokenizer = Self::from_json(json, Some(config.vocab_size))?;
        let named =
            config.bos_token_id.iter().map(|id| ("bos_token_id", id)).chain(config.eos_token_ids.iter().map(|id| ("eos_token_id", id)));
        for (field, id) in named {
            if !tokenizer.has_token(*id) {
                return Err(Error::corrupt(TOKENIZER_FILE, format!("has no token {id}, which config.json gives as `{field}`")));
            }
        }
        let tokens = tokenizer.tokens.iter().filter(|token| **token != Token::Absent).count();
        if config.vocab_size > ROWS_ALWAYS_ENOUGH && tokens < config.vocab_size / 2 {
            let rows = config.vocab_size;
            return Err(Error::corrupt(TOKENIZER_FILE, format!("has {tokens} tokens, and the model {rows} rows: it is another model's")));
        }
        Ok(tokenizer)
    }

    /// The ids of a text, with what the tokenizer puts in front (`</s>`).
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding =
            self.inner.encode(text, true).map_err(|problem| Error::invalid("prompt", format!("cannot be tokenised: {problem}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of a sequence of ids. Special tokens and rows without a token print nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut decoder = TextDecoder::default();
        let mut text: String = ids.iter().map(|id| decoder.push(self.bytes(*id))).collect();
        text.push_str(&decoder.finish());
        text
    }

    /// The token as it is written in the vocabulary; for special tokens their name, for bytes that are no text U+FFFD.
    pub fn token_text(&self, id: u32) -> Option<String> {
        match self.tokens.get(id as usize)? {
            Token::Absent => None,
            Token::Special => self.inner.id_to_token(id),
            Token::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    /// The id of a token written exactly so.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether the id has a token; the model's vocabulary may have rows that do not.
    pub fn has_token(&self, id: u32) -> bool {
        self.tokens.get(id as usize).is_some_and(|token| *token != Token::Absent)
    }

    /// The bytes an id prints: none for special tokens and rows without a token.
    pub fn bytes(&self, id: u32) -> &[u8] {
        match self.tokens.get(id as usize) {
            Some(Token::Bytes(bytes)) => bytes,
            Some(Token::Special | Token::Absent) | None => &[],
        }
    }

    /// Bytes of the longest token: a text of more than this many bytes a token cannot fit into that many tokens.
    pub fn token_bytes_max(&self) -> usize {
        self.token_bytes_max
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tokenizer").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}

/// GPT-2 writes bytes as printable characters: those that print stand for themselves, the others follow from U+0100 on.
fn byte_alphabet() -> HashMap<char, u8> {
    let prints = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 0x100;
    (0..=255u8)
        .map(|byte| {
            if prints(byte) {
                return (char::from(byte), byte);
            }
            let shifted = char::from_u32(next).expect("U+0100 to U+0143 are characters");
            next += 1;
            (shifted, byte)
        })
        .collect()
}

/// Turns bytes that arrive piece by piece into whole characters. What comes out, joined, equals `String::from_utf8_lossy` of all bytes.
#[derive(Debug, Default)]
pub(crate) struct TextDecoder {
    /// The beginning of a character whose end has not come yet: at most three bytes.
    pending: Vec<u8>,
}

impl TextDecoder {
    /// The characters that are complete now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match str::from_utf8(&self.pending) {
                Ok(rest) => {
                    text.push_str(rest);
                    self.pending.clear();
                    return text;
                }
                Err(error) => {
                    let (valid, rest) = self.pending.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    match error.error_len() {
                        Some(length) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            self.pending = rest[length..].to_vec();
                        }
                        None => {
                            self.pending = rest.to_vec();
                            return text;
                        }
                    }
                }
            }
        }
    }

    /// What is left when no more bytes come.
    pub(crate) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_joined_are_the_whole_and_never_half_a_character(text in "\\PC{0,12}|[a-zé日😀\u{301}]{0,12}", noise in proptest::collection::vec(any::<u8>(), 0..4), cuts in proptest::collection::vec(0usize..64, 0..8)) {
            let bytes = [text.as_bytes(), &noise, text.as_bytes()].concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let mut decoder = TextDecoder::default();
            let mut joined: String = cuts.windows(2).map(|cut| decoder.push(&bytes[cut[0]..cut[1]])).collect();
            joined.push_str(&decoder.finish());
            prop_assert_eq!(joined, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let mut decoder = TextDecoder::default();
        let bytes = "😀".as_bytes();
        assert_eq!(decoder.push(&bytes[..3]), "");
        assert_eq!(decoder.push(&bytes[3..]), "😀");
        assert_eq!(decoder.finish(), "");
    }

    #[test]
    fn the_alphabet_has_every_byte_once() {
        let mut bytes: Vec<u8> = byte_alphabet().into_values().collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_alphabet().get(&'Ġ'), Some(&b' '));
    }
}
