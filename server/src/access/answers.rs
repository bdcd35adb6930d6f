//! What somebody typed into the form, by field name: kept as typed, complete or not.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::clause::BOX_PREFIX;
use super::form::{Form, LICENCE_SHOWN, TICKED};

/// The answers. Fields left empty are not kept; names the form does not know never get in.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Answers(BTreeMap<String, String>);

impl Answers {
    /// From the fields that the page of `form` posted. Line ends become `\n`; characters that are neither text nor white space are dropped,
    /// because the database cannot keep them all and no reader can see them.
    pub fn from_fields(form: &Form, fields: impl IntoIterator<Item = (String, String)>) -> Self {
        let answers = fields
            .into_iter()
            .filter(|(name, _)| form.knows(name))
            .map(|(name, value)| {
                let value: String = value
                    .replace("\r\n", "\n")
                    .replace('\r', "\n")
                    .chars()
                    .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
                    .collect();
                (name, value)
            })
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Self(answers)
    }

    /// The answer to `name` without white space around it; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.typed(name).trim()
    }

    /// The answer to `name`, exactly as typed.
    pub(super) fn typed(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether the box `name` is ticked.
    pub(super) fn is_ticked(&self, name: &str) -> bool {
        self.get(name) == TICKED
    }

    /// The same answers with nothing attested: what an earlier application is copied as, and what is left when the licence changed.
    pub(super) fn without_attestations(mut self) -> Self {
        self.0.retain(|name, _| name != LICENCE_SHOWN && !name.starts_with(BOX_PREFIX));
        self
    }

    /// SHA-256 of the answers as JSON, fields in the order of their names: what the audit record binds them by.
    pub(super) fn sha256(&self) -> String {
        let json = serde_json::to_vec(&self.0).expect("a map of strings is JSON");
        data_encoding::HEXLOWER.encode(&Sha256::digest(json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Answers {
        Answers::from_fields(Form::built_in(), pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn what_was_typed_is_kept_and_what_was_not_asked_is_not() {
        let answers = of(&[("title", "  Ümlaut\r\nand\0 more "), ("state", "approved"), ("months", ""), ("uses_bias", "on")]);
        assert_eq!(answers.typed("title"), "  Ümlaut\nand more ");
        assert_eq!(answers.get("title"), "Ümlaut\nand more");
        assert!(answers.is_ticked("uses_bias"));
        assert_eq!(answers.0.len(), 2);
    }

    #[test]
    fn a_copy_attests_nothing() {
        let answers = of(&[("title", "t"), ("agree_adult", "on"), ("licence_shown", "ab")]).without_attestations();
        assert_eq!(answers, of(&[("title", "t")]));
    }

    #[test]
    fn the_hash_follows_every_answer() {
        assert_eq!(of(&[("title", "a"), ("months", "3")]).sha256(), of(&[("months", "3"), ("title", "a")]).sha256());
        assert_ne!(of(&[("title", "a")]).sha256(), of(&[("title", "b")]).sha256());
    }
}
