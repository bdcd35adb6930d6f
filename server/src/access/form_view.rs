//! The form as its page draws it: every question with its answer, its fault, and how it is asked.

use super::answers::Answers;
use super::check::{is_answered, is_needed};
use super::clause::{Clause, Source};
use super::country::COUNTRIES;
use super::form::{FORM_SHOWN, Field, Form, Kind, Listed, MONTHS_MAX, Need};
use crate::error::FieldError;

/// The whole form.
pub(super) struct FormView {
    pub(super) sections: Vec<SectionView>,
    pub(super) licence_clauses: Vec<BoxView>,
    pub(super) site_clauses: Vec<BoxView>,
    /// Every fault with the place on the page it leads to.
    pub(super) faults: Vec<FaultView>,
}

/// One group of questions.
pub(super) struct SectionView {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) intro: String,
    pub(super) fields: Vec<FieldView>,
    /// How many of the questions that need an answer have one.
    pub(super) answered: usize,
    /// How many need one.
    pub(super) needed: usize,
}

/// One question.
pub(super) struct FieldView {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) hint: String,
    pub(super) is_optional: bool,
    pub(super) is_needed: bool,
    pub(super) fault: Option<String>,
    pub(super) control: Control,
}

/// How it is asked.
pub(super) enum Control {
    Line { value: String, kind: &'static str },
    Text { value: String, rows: usize },
    Number { value: String, max: u8 },
    Choice { options: Vec<OptionView> },
    Boxes { boxes: Vec<BoxView> },
}

/// One value to choose.
pub(super) struct OptionView {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_chosen: bool,
}

/// One box to tick.
pub(super) struct BoxView {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) is_ticked: bool,
    pub(super) fault: Option<String>,
}

/// A fault, for the list at the head of the page.
pub(super) struct FaultView {
    pub(super) anchor: String,
    pub(super) label: String,
    pub(super) message: String,
}

impl FieldView {
    /// The ids of what describes the control, for screen readers.
    pub(super) fn described_by(&self) -> String {
        let hint = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        let fault = self.fault.is_some().then(|| format!("{}-fault", self.name));
        hint.into_iter().chain(fault).collect::<Vec<_>>().join(" ")
    }
}

impl FormView {
    /// The form with these answers and faults.
    pub(super) fn new(form: &Form, answers: &Answers, faults: &[FieldError]) -> Self {
        let sections = form.sections().iter().map(|section| {
            let needed = section.fields.iter().filter(|field| is_needed(field, answers));
            SectionView {
                id: section.id.clone(),
                title: section.title.clone(),
                intro: section.intro.clone(),
                answered: needed.clone().filter(|field| is_answered(field, answers)).count(),
                needed: needed.count(),
                fields: section.fields.iter().map(|field| field_view(field, answers, faults)).collect(),
            }
        });
        Self {
            sections: sections.collect(),
            licence_clauses: boxes(form.clauses(), Source::Licence, answers, faults),
            site_clauses: boxes(form.clauses(), Source::Site, answers, faults),
            faults: faults.iter().map(|fault| fault_view(form, fault)).collect(),
        }
    }
}

fn boxes(clauses: &[Clause], source: Source, answers: &Answers, faults: &[FieldError]) -> Vec<BoxView> {
    let boxes = clauses.iter().filter(|clause| clause.source == source).map(|clause| BoxView {
        name: clause.field.clone(),
        label: clause.wording.clone(),
        is_ticked: answers.is_ticked(&clause.field),
        fault: fault_of(&clause.field, faults),
    });
    boxes.collect()
}

fn field_view(field: &Field, answers: &Answers, faults: &[FieldError]) -> FieldView {
    let value = answers.typed(&field.name).to_owned();
    let control = match &field.kind {
        Kind::Line { .. } | Kind::Orcid => Control::Line { value, kind: "text" },
        Kind::Email => Control::Line { value, kind: "email" },
        Kind::Url => Control::Line { value, kind: "url" },
        Kind::Text { chars_max, .. } => Control::Text { value, rows: if *chars_max > 2_000 { 12 } else { 5 } },
        Kind::Months => Control::Number { value, max: MONTHS_MAX },
        Kind::Choice { of } => {
            let values = of.iter().map(|Listed { value, label }| (value.as_str(), label.as_str()));
            Control::Choice { options: options(values, answers.get(&field.name)) }
        }
        Kind::Country => Control::Choice { options: options(COUNTRIES.iter().copied(), answers.get(&field.name)) },
        Kind::Ticks { of } => {
            let boxes = of.iter().map(|listed| {
                let name = field.box_name(&listed.value);
                BoxView { is_ticked: answers.is_ticked(&name), name, label: listed.label.clone(), fault: None }
            });
            Control::Boxes { boxes: boxes.collect() }
        }
    };
    FieldView {
        name: field.name.clone(),
        label: field.label.clone(),
        hint: field.hint.clone(),
        is_optional: matches!(field.need, Need::Optional),
        is_needed: is_needed(field, answers),
        fault: fault_of(&field.name, faults),
        control,
    }
}

fn options<'a>(values: impl Iterator<Item = (&'a str, &'a str)>, chosen: &str) -> Vec<OptionView> {
    values.map(|(value, label)| OptionView { value: value.to_owned(), label: label.to_owned(), is_chosen: value == chosen }).collect()
}

fn fault_of(name: &str, faults: &[FieldError]) -> Option<String> {
    faults.iter().find(|fault| fault.field == name).map(|fault| fault.message.to_string())
}

/// A message as a sentence begins.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn fault_view(form: &Form, fault: &FieldError) -> FaultView {
    let field = form.field(&fault.field).map(|field| field.label.as_str());
    let clause = form.clauses().iter().find(|clause| clause.field == fault.field).map(|clause| clause.wording.trim_end_matches('.'));
    let label = field.or(clause).unwrap_or(if fault.field == FORM_SHOWN { "The form" } else { "The licence" }).to_owned();
    FaultView { anchor: fault.field.to_string(), label, message: sentence(&fault.message) }
}
