//! The form as its page draws it: every question with its answer, its fault, and how it is asked.

use super::answers::Answers;
use super::check::{is_answered, is_needed};
use super::clause::{CLAUSES, Source};
use super::country::COUNTRIES;
use super::form::{Field, Kind, MONTHS_MAX, Need, SECTIONS};
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
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) intro: &'static str,
    pub(super) fields: Vec<FieldView>,
    /// How many of the questions that need an answer have one.
    pub(super) answered: usize,
    /// How many need one.
    pub(super) needed: usize,
}

/// One question.
pub(super) struct FieldView {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: &'static str,
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
    pub(super) value: &'static str,
    pub(super) label: &'static str,
    pub(super) is_chosen: bool,
}

/// One box to tick.
pub(super) struct BoxView {
    pub(super) name: String,
    pub(super) label: &'static str,
    pub(super) is_ticked: bool,
    pub(super) fault: Option<String>,
}

/// A fault, for the list at the head of the page.
pub(super) struct FaultView {
    pub(super) anchor: String,
    pub(super) label: &'static str,
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
    pub(super) fn new(answers: &Answers, faults: &[FieldError]) -> Self {
        let sections = SECTIONS.iter().map(|section| {
            let fields: Vec<FieldView> = section.fields.iter().map(|field| field_view(field, answers, faults)).collect();
            let needed = section.fields.iter().filter(|field| is_needed(field, answers));
            SectionView {
                id: section.id,
                title: section.title,
                intro: section.intro,
                answered: needed.clone().filter(|field| is_answered(field, answers)).count(),
                needed: needed.count(),
                fields,
            }
        });
        let clauses = |source| {
            CLAUSES.iter().filter(move |clause| clause.source == source).map(|clause| BoxView {
                name: clause.field.to_owned(),
                label: clause.wording,
                is_ticked: answers.is_ticked(clause.field),
                fault: fault_of(clause.field, faults),
            })
        };
        Self {
            sections: sections.collect(),
            licence_clauses: clauses(Source::Licence).collect(),
            site_clauses: clauses(Source::Site).collect(),
            faults: faults.iter().map(fault_view).collect(),
        }
    }
}

fn field_view(field: &Field, answers: &Answers, faults: &[FieldError]) -> FieldView {
    let value = answers.typed(field.name).to_owned();
    let options = |values: &[(&'static str, &'static str)]| {
        values.iter().map(|(value, label)| OptionView { value, label, is_chosen: answers.get(field.name) == *value }).collect()
    };
    let control = match field.kind {
        Kind::Line { .. } | Kind::Orcid => Control::Line { value, kind: "text" },
        Kind::Email => Control::Line { value, kind: "email" },
        Kind::Url => Control::Line { value, kind: "url" },
        Kind::Text { chars_max, .. } => Control::Text { value, rows: if chars_max > 2_000 { 12 } else { 5 } },
        Kind::Months => Control::Number { value, max: MONTHS_MAX },
        Kind::Choice(values) => Control::Choice { options: options(values) },
        Kind::Country => Control::Choice { options: options(COUNTRIES) },
        Kind::Ticks(ticks) => {
            let boxes = ticks.iter().map(|(value, label)| {
                let name = format!("{}_{value}", field.name);
                BoxView { is_ticked: answers.is_ticked(&name), name, label, fault: None }
            });
            Control::Boxes { boxes: boxes.collect() }
        }
    };
    FieldView {
        name: field.name,
        label: field.label,
        hint: field.hint,
        is_optional: matches!(field.need, Need::Optional),
        is_needed: is_needed(field, answers),
        fault: fault_of(field.name, faults),
        control,
    }
}

fn fault_of(name: &str, faults: &[FieldError]) -> Option<String> {
    faults.iter().find(|fault| fault.field == name).map(|fault| fault.message.to_string())
}

fn fault_view(fault: &FieldError) -> FaultView {
    let field = super::form::fields().find(|field| field.name == fault.field);
    let clause = CLAUSES.iter().find(|clause| clause.field == fault.field);
    let label = field.map(|field| field.label).or(clause.map(|clause| clause.wording.trim_end_matches('.'))).unwrap_or("The licence");
    FaultView { anchor: fault.field.to_string(), label, message: fault.message.to_string() }
}
