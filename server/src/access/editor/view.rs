//! A form as its editor lists it.

use super::super::clause::Source;
use super::super::form::{Field, Layout};
use super::super::form_rules::{self, Place};
use super::edit::Part;
use super::words;

/// The parts of a form, in order.
pub(super) struct LayoutView {
    pub(super) sections: Vec<SectionRow>,
    pub(super) clauses: Vec<ClauseRow>,
    /// What stands in the way of publishing.
    pub(super) faults: Vec<FaultRow>,
}

pub(super) struct SectionRow {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) intro: String,
    pub(super) questions: Vec<QuestionRow>,
}

pub(super) struct QuestionRow {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) kind: String,
    pub(super) need: String,
}

pub(super) struct ClauseRow {
    pub(super) id: String,
    pub(super) wording: String,
    pub(super) is_of_licence: bool,
}

pub(super) struct FaultRow {
    /// The part's page below the form's, where there is one.
    pub(super) path: Option<String>,
    pub(super) place: String,
    pub(super) message: String,
}

impl LayoutView {
    pub(super) fn new(layout: &Layout) -> Self {
        let sections = layout.sections.iter().map(|section| SectionRow {
            id: section.id.clone(),
            title: section.title.clone(),
            intro: section.intro.clone(),
            questions: section.fields.iter().map(question).collect(),
        });
        let clauses = layout.clauses.iter().map(|clause| ClauseRow {
            id: clause.id.clone(),
            wording: clause.wording.clone(),
            is_of_licence: clause.source == Source::Licence,
        });
        let faults = form_rules::faults(layout).into_iter().map(|fault| FaultRow {
            path: match &fault.place {
                Place::Form => None,
                Place::Section(id) => Some(format!("{}/{id}", Part::Section.as_str())),
                Place::Question(name) => Some(format!("{}/{name}", Part::Question.as_str())),
                Place::Clause(id) => Some(format!("{}/{id}", Part::Clause.as_str())),
            },
            place: fault.place.to_string(),
            message: format!("{} {}", fault.part, fault.message),
        });
        Self { sections: sections.collect(), clauses: clauses.collect(), faults: faults.collect() }
    }
}

fn question(field: &Field) -> QuestionRow {
    QuestionRow {
        name: field.name.clone(),
        label: field.label.clone(),
        kind: words::of_kind(&field.kind),
        need: words::of_need(&field.need),
    }
}
