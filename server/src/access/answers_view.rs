//! The answers as they are read: by the reviewer who decides and by the applicant who gave them.

use super::answers::Answers;
use super::check::{is_answered, is_web_page};
use super::country;
use super::form::{Field, Kind, SECTIONS, fields};

/// The answers of one section.
pub(super) struct AnsweredSection {
    pub(super) title: &'static str,
    pub(super) answers: Vec<Answered>,
}

/// One answer.
pub(super) struct Answered {
    pub(super) label: &'static str,
    /// Its lines.
    pub(super) lines: Vec<String>,
    /// The page it points at, when it is the address of one.
    pub(super) link: Option<String>,
}

/// Everything that was answered, section by section.
pub(super) fn read(answers: &Answers) -> Vec<AnsweredSection> {
    let sections = SECTIONS.iter().map(|section| AnsweredSection {
        title: section.title,
        answers: section.fields.iter().filter(|field| is_answered(field, answers)).map(|field| answered(field, answers)).collect(),
    });
    sections.filter(|section| !section.answers.is_empty()).collect()
}

/// What the answer to a choice says in words; the answer itself where it is none of the list.
pub(super) fn in_words<'a>(name: &str, answers: &'a Answers) -> &'a str {
    let answer = answers.get(name);
    match fields().find(|field| field.name == name).map(|field| field.kind) {
        Some(Kind::Choice(values)) => values.iter().find(|(value, _)| *value == answer).map_or(answer, |(_, label)| label),
        Some(Kind::Country) => country::name_of(answer).unwrap_or(answer),
        _ => answer,
    }
}

fn answered(field: &Field, answers: &Answers) -> Answered {
    let text = match field.kind {
        Kind::Ticks(ticks) => {
            let ticked = ticks.iter().filter(|(value, _)| answers.is_ticked(&format!("{}_{value}", field.name)));
            ticked.map(|(_, label)| *label).collect::<Vec<_>>().join("\n")
        }
        Kind::Choice(_) | Kind::Country => in_words(field.name, answers).to_owned(),
        Kind::Months => format!("{} months", answers.get(field.name)),
        Kind::Line { .. } | Kind::Text { .. } | Kind::Email | Kind::Url | Kind::Orcid => answers.get(field.name).to_owned(),
    };
    let link = match field.kind {
        Kind::Url => is_web_page(&text).then(|| text.clone()),
        Kind::Orcid => Some(format!("https://orcid.org/{}", text.trim_start_matches("https://orcid.org/"))),
        _ => None,
    };
    Answered { label: field.label, lines: text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect(), link }
}
