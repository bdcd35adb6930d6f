//! The application form as data: what is asked, in which order, what counts as an answer, and what is agreed to. A form that exists keeps
//! the rules of `form_rules.rs`, and is named by the SHA-256 of its canonical JSON, so that an application can pin what was shown.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::clause::Clause;
use super::form_rules;
use crate::error::{Error, FieldError};

/// A form that keeps the rules, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    layout: Layout,
    sha256: String,
}

/// What a form consists of, whether or not it keeps the rules. Keys stand in the order of the alphabet, here and below: so the JSON
/// that serde writes is the canonical one (RFC 8785), and `jq -jcS . form.json | sha256sum` computes the form's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FormLayout, description = "What a form asks.")]
pub(super) struct Layout {
    /// What is agreed to, in order.
    pub(super) clauses: Vec<Clause>,
    /// Groups of questions, in order.
    pub(super) sections: Vec<Section>,
}

/// A group of questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FormSection)]
pub(super) struct Section {
    /// Its questions, in order.
    pub(super) fields: Vec<Field>,
    /// Its name: small letters, digits and hyphens.
    pub(super) id: String,
    /// What is said above its questions; may be empty.
    pub(super) intro: String,
    /// Its heading.
    pub(super) title: String,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FormQuestion)]
pub(super) struct Field {
    /// What is said below the label; may be empty.
    pub(super) hint: String,
    /// What counts as an answer.
    pub(super) kind: Kind,
    /// The question.
    pub(super) label: String,
    /// Its name: small letters, digits and `_`.
    pub(super) name: String,
    /// Whether it has to be answered.
    pub(super) need: Need,
}

/// Whether it has to be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = FormNeed)]
pub(super) enum Need {
    /// Whoever applies answers it.
    Always,
    /// Nobody has to.
    Optional,
    /// When the choice or box `field` holds one of these values.
    When {
        /// The name of another question, or of a box of it.
        field: String,
        /// The values; `on` for a box.
        is: Vec<String>,
    },
}

/// What counts as an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = FormKind)]
pub(super) enum Kind {
    /// One line.
    Line {
        /// The most characters.
        chars_max: usize,
    },
    /// Paragraphs.
    Text {
        /// The most characters.
        chars_max: usize,
        /// The fewest characters.
        chars_min: usize,
        /// The fewest words.
        words_min: usize,
    },
    /// One of these.
    Choice {
        /// The list.
        of: Vec<Listed>,
    },
    /// Any of these; each box is sent as `{name}_{value}`.
    Ticks {
        /// The list.
        of: Vec<Listed>,
    },
    /// A country, by its two letters of ISO 3166.
    Country,
    /// An e-mail address.
    Email,
    /// The address of a web page.
    Url,
    /// An ORCID.
    Orcid,
    /// A number of months, 1 to 12.
    Months,
}

/// One value of a list: what is shown, and what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FormValue)]
pub(super) struct Listed {
    /// What is shown.
    pub(super) label: String,
    /// What is stored: small letters, digits and `_`.
    pub(super) value: String,
}

/// The longest a grant may be asked for.
pub(super) const MONTHS_MAX: u8 = 12;

/// The value of a ticked box.
pub(super) const TICKED: &str = "on";

/// The hidden field that says which licence text the page showed.
pub(super) const LICENCE_SHOWN: &str = "licence_shown";

/// The hidden field that says which form the page showed.
pub(super) const FORM_SHOWN: &str = "form_shown";

/// The form for non-commercial research, for models that have none of their own.
static BUILT_IN: LazyLock<Form> = LazyLock::new(|| Form::from_json(include_str!("form.json")).expect("a test reads the built-in form"));

impl Form {
    /// The form of every model for which nobody has published another.
    pub fn built_in() -> &'static Form {
        &BUILT_IN
    }

    /// The form that this JSON describes. Errors: every rule it breaks, each with its place.
    pub fn from_json(json: &str) -> Result<Form, Vec<FieldError>> {
        Form::new(Layout::from_json(json).map_err(|fault| vec![fault])?)
    }

    /// The form of this layout. Errors: every rule it breaks, each with its place.
    pub(super) fn new(layout: Layout) -> Result<Form, Vec<FieldError>> {
        let faults = form_rules::faults(&layout);
        if !faults.is_empty() {
            return Err(faults.into_iter().map(FieldError::from).collect());
        }
        Ok(Form::named(layout))
    }

    /// The form that was kept under this name. Rules may have become stricter since; what was published stays readable.
    /// Errors: `Internal` if it is not what its name says.
    pub(super) fn kept(layout: Layout, sha256: &str) -> Result<Form, Error> {
        let form = Form::named(layout);
        if form.sha256 == sha256 { Ok(form) } else { Err(Error::internal(format!("the form {sha256} was changed in the database"))) }
    }

    /// A form to be looked at alone: it may break rules, and nobody is asked it.
    pub(super) fn unchecked(layout: Layout) -> Form {
        Form::named(layout)
    }

    fn named(layout: Layout) -> Form {
        let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(layout.canonical_json()));
        Form { layout, sha256 }
    }

    /// Its name: SHA-256 of its canonical JSON, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What it consists of.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its groups of questions, in order.
    pub(super) fn sections(&self) -> &[Section] {
        &self.layout.sections
    }

    /// What is agreed to, in order.
    pub(super) fn clauses(&self) -> &[Clause] {
        &self.layout.clauses
    }

    /// Every question, section by section.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.layout.fields()
    }

    /// The question `name`.
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields().find(|field| field.name == name)
    }

    /// Whether its page sends a field `name`.
    pub(super) fn knows(&self, name: &str) -> bool {
        matches!(name, LICENCE_SHOWN | FORM_SHOWN)
            || self.clauses().iter().any(|clause| clause.field == name)
            || self.fields().any(|field| field.sends(name))
    }
}

impl Layout {
    /// Reads it, without looking at the rules. Errors: where the JSON is none, or none of a form.
    pub(super) fn from_json(json: &str) -> Result<Self, FieldError> {
        serde_json::from_str(json).map_err(|cause| FieldError::new("form", format!("is not the JSON of a form: {cause}")))
    }

    /// Without white space, keys in the order of the alphabet.
    pub(super) fn canonical_json(&self) -> String {
        serde_json::to_string(self).expect("lists of strings and numbers are JSON")
    }

    /// For people: over lines, keys in the same order.
    pub(super) fn readable_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("lists of strings and numbers are JSON")
    }

    /// Every question, section by section.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.sections.iter().flat_map(|section| &section.fields)
    }
}

impl Field {
    /// The names of what its control sends: its own, or one for each box.
    pub(super) fn sent_names(&self) -> Vec<String> {
        match &self.kind {
            Kind::Ticks { of } => of.iter().map(|listed| self.box_name(&listed.value)).collect(),
            Kind::Line { .. } | Kind::Text { .. } | Kind::Choice { .. } | Kind::Country => vec![self.name.clone()],
            Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => vec![self.name.clone()],
        }
    }

    /// The name of the box for one of its values.
    pub(super) fn box_name(&self, value: &str) -> String {
        format!("{}_{value}", self.name)
    }

    /// Whether its control sends a field `name`.
    pub(super) fn sends(&self, name: &str) -> bool {
        match &self.kind {
            Kind::Ticks { of } => name
                .strip_prefix(self.name.as_str())
                .and_then(|rest| rest.strip_prefix('_'))
                .is_some_and(|value| of.iter().any(|listed| listed.value == value)),
            Kind::Line { .. } | Kind::Text { .. } | Kind::Choice { .. } | Kind::Country => name == self.name,
            Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => name == self.name,
        }
    }
}

/// What the list of a choice shows for `value`; the value itself where it is none of them.
pub(super) fn label_of<'a>(of: &'a [Listed], value: &'a str) -> &'a str {
    of.iter().find(|listed| listed.value == value).map_or(value, |listed| &listed.label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_form_keeps_the_rules_and_changes_on_purpose_alone() {
        let form = Form::from_json(include_str!("form.json")).expect("it keeps the rules");
        assert_eq!(form.sha256(), "5fb97e07ca8eecb29185016a84ab9fd5719bbb6c8a1aaffd8dce00e7aaa59be1");
        assert_eq!((form.sections().len(), form.clauses().len()), (6, 13));
    }

    #[test]
    fn the_canonical_json_has_no_space_and_its_keys_in_order() {
        fn sorted(value: serde_json::Value) -> serde_json::Value {
            match value {
                serde_json::Value::Object(map) => {
                    let mut keys: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
                    keys.sort_by(|a, b| a.0.cmp(&b.0));
                    serde_json::Value::Object(keys.into_iter().collect())
                }
                serde_json::Value::Array(list) => serde_json::Value::Array(list.into_iter().map(sorted).collect()),
                other => other,
            }
        }
        let json = Form::built_in().layout.canonical_json();
        assert_eq!(sorted(serde_json::from_str(&json).unwrap()).to_string(), json);
    }

    #[test]
    fn every_name_on_the_page_is_known_and_no_other() {
        let form = Form::built_in();
        for name in form.fields().flat_map(Field::sent_names).chain(form.clauses().iter().map(|clause| clause.field.clone())) {
            assert!(form.knows(&name), "{name} would be dropped");
        }
        assert!(!form.knows("state") && !form.knows("uses_") && !form.knows("uses") && !form.knows("csrf"));
    }
}
