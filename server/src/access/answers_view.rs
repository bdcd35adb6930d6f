//! The answers as they are read: by the reviewer who decides and by the applicant who gave them.

use super::answers::Answers;
use super::check::{is_answered, is_web_page};
use super::country;
use super::form::{Field, Form, Kind, label_of};

/// The answers of one section.
pub(super) struct AnsweredSection {
    pub(super) title: String,
    pub(super) answers: Vec<Answered>,
}

/// One answer.
pub(super) struct Answered {
    /// The question's name.
    pub(super) name: String,
    /// The question.
    pub(super) label: String,
    /// Its lines.
    pub(super) lines: Vec<String>,
    /// The page it points at, when it is the address of one.
    pub(super) link: Option<String>,
}

/// Everything that was answered, section by section of the form that was shown.
pub(super) fn read(form: &Form, answers: &Answers) -> Vec<AnsweredSection> {
    let sections = form.sections().iter().map(|section| AnsweredSection {
        title: section.title.clone(),
        answers: section.fields.iter().filter(|field| is_answered(field, answers)).map(|field| answered(field, answers)).collect(),
    });
    sections.filter(|section| !section.answers.is_empty()).collect()
}

/// What the answer to a choice says in words; the answer itself where it is none of the list. Empty where the form does not ask.
pub(super) fn in_words<'a>(form: &'a Form, name: &str, answers: &'a Answers) -> &'a str {
    form.field(name).map_or("", |field| chosen(field, answers))
}

fn chosen<'a>(field: &'a Field, answers: &'a Answers) -> &'a str {
    let answer = answers.get(&field.name);
    match &field.kind {
        Kind::Choice { of } => label_of(of, answer),
        Kind::Country => country::name_of(answer).unwrap_or(answer),
        Kind::Line { .. } | Kind::Text { .. } | Kind::Ticks { .. } | Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => answer,
    }
}

/// The words of the question `name`; the name itself where there is no such question.
pub(super) fn asked_in_words(form: &Form, name: &str) -> String {
    form.field(name).map_or(name, |field| &field.label).to_owned()
}

/// Those of these names that are questions of the form.
pub(super) fn known(form: &Form, names: &[String]) -> Vec<String> {
    names.iter().filter(|name| form.field(name).is_some()).cloned().collect()
}

fn answered(field: &Field, answers: &Answers) -> Answered {
    let text = match &field.kind {
        Kind::Ticks { of } => {
            let ticked = of.iter().filter(|listed| answers.is_ticked(&field.box_name(&listed.value)));
            ticked.map(|listed| listed.label.as_str()).collect::<Vec<_>>().join("\n")
        }
        Kind::Choice { .. } | Kind::Country => chosen(field, answers).to_owned(),
        Kind::Months => format!("{} months", answers.get(&field.name)),
        Kind::Line { .. } | Kind::Text { .. } | Kind::Email | Kind::Url | Kind::Orcid => answers.get(&field.name).to_owned(),
    };
    let link = match &field.kind {
        Kind::Url => is_web_page(&text).then(|| text.clone()),
        Kind::Orcid => Some(format!("https://orcid.org/{}", text.trim_start_matches("https://orcid.org/"))),
        Kind::Line { .. } | Kind::Text { .. } | Kind::Choice { .. } | Kind::Ticks { .. } | Kind::Country | Kind::Email | Kind::Months => {
            None
        }
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    Answered { name: field.name.clone(), label: field.label.clone(), lines, link }
}
