//! What somebody typed into the form, by field name: kept as typed, complete or not.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::clause::BOX_PREFIX;
use super::form::{FORM_SHOWN, Field, Form, Kind, LICENCE_SHOWN, TICKED};
use crate::http::unseen::visible;

/// Before the name of an answer that is kept apart: it stands under the name of the form that asked for it.
const LEFT_OVER: &str = "left_over/";

/// The answers. Fields left empty are not kept; names the form does not know never get in.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Answers(BTreeMap<String, String>);

impl Answers {
    /// From the fields that the page of `form` posted. Line ends become `\n`; characters that are neither text nor white space are dropped,
    /// because the database cannot keep them all and no reader can see them; in a line, such as a title, nothing else that cannot be seen is kept.
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
                let is_line = form.field(&name).is_some_and(|field| matches!(field.kind, Kind::Line { .. }));
                (name, if is_line { visible(&value) } else { value })
            })
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Self(answers)
    }

    /// The answer to `name` without white space around it; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.typed(name).trim()
    }

    /// Every answer by its name, as typed, without what is kept apart.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(|(name, _)| !name.starts_with(LEFT_OVER))
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

    /// Whether nothing was answered at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the form that they were written on. Pages showed the built-in one before they named it.
    pub(super) fn form_shown(&self) -> &str {
        match self.get(FORM_SHOWN) {
            "" => Form::built_in().sha256(),
            name => name,
        }
    }

    /// The same answers on another form: those to questions that it asks in the same way, and ticks under clauses of the same words.
    /// The answers that have no place there are kept apart, and come back with the form that asked for them.
    pub(super) fn moved(self, from: &Form, to: &Form) -> Self {
        let mut kept: BTreeMap<String, String> = BTreeMap::new();
        let apart = |form: &Form| format!("{LEFT_OVER}{}/", form.sha256());
        for (name, value) in self.0 {
            if let Some(name) = name.strip_prefix(&apart(to)) {
                kept.entry(name.to_owned()).or_insert(value);
                continue;
            }
            let clause = from.clauses().iter().find(|clause| clause.field == name);
            let is_kept = match clause {
                Some(clause) => to.clauses().contains(clause),
                None => name == LICENCE_SHOWN || name.starts_with(LEFT_OVER) || to.fields().any(|field| takes(field, from, &name, &value)),
            };
            if is_kept {
                kept.insert(name, value);
            } else if clause.is_none() && name != FORM_SHOWN {
                kept.insert(apart(from) + &name, value);
            }
        }
        kept.insert(FORM_SHOWN.to_owned(), to.sha256().to_owned());
        Self(kept)
    }

    /// What is kept apart, by the name of the form that asked for it.
    pub(super) fn left_over(&self) -> BTreeMap<String, Answers> {
        let mut by_form: BTreeMap<String, Answers> = BTreeMap::new();
        for (name, value) in &self.0 {
            if let Some((form, name)) = name.strip_prefix(LEFT_OVER).and_then(|rest| rest.split_once('/')) {
                by_form.entry(form.to_owned()).or_default().0.insert(name.to_owned(), value.clone());
            }
        }
        by_form
    }

    /// These answers with what those keep apart.
    pub(super) fn with_left_over_of(mut self, kept: &Answers) -> Self {
        let apart = kept.0.iter().filter(|(name, _)| name.starts_with(LEFT_OVER));
        self.0.extend(apart.map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    /// These answers without what is kept apart, as they are sent.
    pub(super) fn without_left_over(mut self) -> Self {
        self.0.retain(|name, _| !name.starts_with(LEFT_OVER));
        self
    }

    /// SHA-256 of the answers as JSON, fields in the order of their names: what the audit record binds them by.
    pub(super) fn sha256(&self) -> String {
        let json = serde_json::to_vec(&self.0).expect("a map of strings is JSON");
        data_encoding::HEXLOWER.encode(&Sha256::digest(json))
    }
}

/// Whether `field` takes what was sent as `name` from the form `from`: it sends the same name for the same kind of question, and a list
/// still has what was chosen.
fn takes(field: &Field, from: &Form, name: &str, value: &str) -> bool {
    let is_same_kind =
        from.field(&field.name).is_some_and(|known| std::mem::discriminant(&known.kind) == std::mem::discriminant(&field.kind));
    let is_listed = match &field.kind {
        Kind::Choice { of } => of.iter().any(|listed| listed.value == value.trim()),
        Kind::Line { .. } | Kind::Text { .. } | Kind::Ticks { .. } | Kind::Country => true,
        Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => true,
    };
    is_same_kind && is_listed && field.sends(name)
}

#[cfg(test)]
mod tests {
    use super::super::answers_view;
    use super::super::form::Need;
    use super::super::form_rules::tests::{built_in, question};
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
    fn answers_move_to_another_form_by_name_and_kind_and_what_has_no_place_is_told() {
        let mut layout = built_in();
        layout.sections[0].fields.retain(|field| field.name != "department");
        for section in &mut layout.sections {
            for field in &mut section.fields {
                match (field.name.as_str(), &mut field.kind) {
                    ("role", Kind::Choice { of }) => of.retain(|listed| listed.value != "journalist"),
                    ("uses", Kind::Ticks { of }) => of.retain(|listed| listed.value != "bias"),
                    ("funding", kind) => *kind = Kind::Text { chars_max: 900, chars_min: 0, words_min: 0 },
                    _ => {}
                }
            }
        }
        layout.sections[0].fields.push(question("size", Kind::Country, Need::Always));
        layout.clauses[0].wording = "Something else altogether.".into();
        let to = Form::new(layout).expect("it keeps the rules");
        let written = [
            ("title", " t"),
            ("department", "Logic"),
            ("role", "journalist"),
            ("uses_bias", "on"),
            ("uses_safety", "on"),
            ("funding", "ERC"),
            ("agree_non_commercial", "on"),
            ("agree_adult", "on"),
            ("licence_shown", "ab"),
        ];
        let written = of(&written);
        let moved = written.clone().moved(Form::built_in(), &to);
        let expected = [("agree_adult", "on"), (FORM_SHOWN, to.sha256()), ("licence_shown", "ab"), ("title", " t"), ("uses_safety", "on")];
        assert_eq!(moved.pairs().collect::<Vec<_>>(), expected);
        let left_over = &moved.left_over()[Form::built_in().sha256()];
        let told = answers_view::read(Form::built_in(), left_over).into_iter().flat_map(|section| section.answers);
        let told: Vec<String> = told.map(|left| format!("{}: {}", left.label, left.lines.join("/"))).collect();
        let expected =
            ["Your role: Journalist", "Department or group: Logic", "What you will use the model for: Bias and toxicity", "Funding: ERC"];
        assert_eq!(told, expected);
        assert!(moved.clone().without_left_over().left_over().is_empty());

        // On the form as it was they have their place again; what the other asked besides is kept apart in turn.
        let back = moved.moved(&to, Form::built_in());
        assert!(back.left_over().is_empty());
        for name in ["role", "department", "uses_bias", "funding"] {
            assert_eq!(back.typed(name), written.typed(name));
        }
    }

    #[test]
    fn the_hash_follows_every_answer() {
        assert_eq!(of(&[("title", "a"), ("months", "3")]).sha256(), of(&[("months", "3"), ("title", "a")]).sha256());
        assert_ne!(of(&[("title", "a")]).sha256(), of(&[("title", "b")]).sha256());
    }
}
