//! Which token ids mean something: the embedding may have more rows than there are tokens, to come out at a round number.

use crate::error::Error;
use crate::opt::OptConfig;
use crate::tokenizer::Tokenizer;

/// Rows of the published OPT models' embedding.
const OPT_ROWS: usize = 50_272;
/// Tokens they have: GPT-2's 50,257 and eight of fairseq's own, padded to a multiple of eight for training (metaseq's dictionary,
/// `pad_to_multiple_`; ids 50,265 to 50,271 are in no vocab.json).
const OPT_TOKENS: usize = 50_265;

/// The ids a model knows: the rows of its embedding, but for those without a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vocabulary {
    rows: usize,
    /// Ascending.
    without_token: Vec<usize>,
}

impl Vocabulary {
    /// By the tokenizer; without one, the published models are known by their number of rows, and of others every row may mean something.
    pub(crate) fn new(config: &OptConfig, tokenizer: Option<&Tokenizer>) -> Self {
        let rows = config.vocab_size;
        let without_token = match tokenizer {
            Some(tokenizer) => (0..rows).filter(|row| u32::try_from(*row).is_ok_and(|id| !tokenizer.has_token(id))).collect(),
            None if rows == OPT_ROWS => (OPT_TOKENS..OPT_ROWS).collect(),
            None => Vec::new(),
        };
        Self { rows, without_token }
    }

    /// Rows that no token stands for, ascending: never drawn.
    pub(crate) fn rows_without_token(&self) -> &[usize] {
        &self.without_token
    }

    /// Whether the id is that of a token.
    pub(crate) fn has(&self, id: u32) -> bool {
        (id as usize) < self.rows && self.without_token.binary_search(&(id as usize)).is_err()
    }

    /// `Invalid`, with the field, if the id is not that of a token.
    pub(crate) fn check(&self, field: &'static str, id: u32) -> Result<(), Error> {
        if self.has(id) {
            return Ok(());
        }
        let last = (0..self.rows).rev().find(|row| self.without_token.binary_search(row).is_err()).unwrap_or(0);
        Err(Error::invalid(
            field,
            match id as usize <= last {
                true => format!("contains the id {id}, which has no token in this model's vocabulary"),
                false => format!("contains the id {id}; this model's tokens end at {last}"),
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn without_tokenizer(vocab_size: usize) -> Vocabulary {
        let config = format!(r#"{{"model_type": "opt", "vocab_size": {vocab_size}}}"#);
        Vocabulary::new(&OptConfig::parse(config.as_bytes()).unwrap(), None)
    }

    #[test]
    fn the_published_models_have_no_token_for_their_last_seven_rows() {
        let opt = without_tokenizer(50_272);
        assert_eq!(opt.rows_without_token(), [50_265, 50_266, 50_267, 50_268, 50_269, 50_270, 50_271]);
        opt.check("prompt", 50_264).unwrap();
        for id in [50_265, 50_271, 50_272, u32::MAX] {
            let refused = opt.check("prompt", id).unwrap_err().to_string();
            assert!(refused.contains(&format!("{id}; this model's tokens end at 50264")), "{refused}");
        }
        assert!(without_tokenizer(50_265).has(50_264) && without_tokenizer(50_273).has(50_271), "others are not guessed at");
    }
}
