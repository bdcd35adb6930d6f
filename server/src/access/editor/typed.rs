//! What an admin typed about a part of the form, and the part that it makes. The page comes back as it was typed.

use serde::Deserialize;

use super::super::clause::{BOX_PREFIX, Clause, Source};
use super::super::form::{Field, Kind, Listed, Need, Section};
use super::words;
use crate::error::{Error, FieldError};

/// The inputs of all three pages; each has its own of them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    /// The edition of the draft that was seen.
    pub(super) edition: i64,
    pub(super) section: String,
    pub(super) name: String,
    pub(super) label: String,
    pub(super) hint: String,
    pub(super) kind: String,
    pub(super) chars_max: String,
    pub(super) chars_min: String,
    pub(super) words_min: String,
    /// One value a line, `value: label` or a label alone.
    pub(super) values: String,
    pub(super) need: String,
    pub(super) on: String,
    pub(super) is: String,
    pub(super) id: String,
    pub(super) title: String,
    pub(super) intro: String,
    pub(super) source: String,
    pub(super) field: String,
    pub(super) wording: String,
}

impl Typed {
    /// A question that is yet to be written, for this section.
    pub(super) fn new_question(section: &str) -> Self {
        Self { section: section.into(), kind: "line".into(), need: "always".into(), ..Self::default() }
    }

    /// A clause that is yet to be written.
    pub(super) fn new_clause() -> Self {
        Self { source: "site".into(), ..Self::default() }
    }

    /// What would have been typed to make this question.
    pub(super) fn of_question(section: &str, field: &Field) -> Self {
        let (need, on, is) = match &field.need {
            Need::Always => ("always", String::new(), String::new()),
            Need::Optional => ("optional", String::new(), String::new()),
            Need::When { field, is } => ("when", field.clone(), is.join(", ")),
        };
        let (mut chars_max, mut chars_min, mut words_min, mut values) = (String::new(), String::new(), String::new(), String::new());
        match &field.kind {
            Kind::Line { chars_max: most } => chars_max = most.to_string(),
            Kind::Text { chars_max: most, chars_min: least, words_min: words } => {
                (chars_max, chars_min, words_min) = (most.to_string(), least.to_string(), words.to_string());
            }
            Kind::Choice { of } | Kind::Ticks { of } => {
                values = of.iter().map(|listed| format!("{}: {}", listed.value, listed.label)).collect::<Vec<_>>().join("\n");
            }
            Kind::Country | Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => {}
        }
        Self {
            section: section.into(),
            name: field.name.clone(),
            label: field.label.clone(),
            hint: field.hint.clone(),
            kind: words::name_of(&field.kind).into(),
            need: need.into(),
            chars_max,
            chars_min,
            words_min,
            values,
            on,
            is,
            ..Self::default()
        }
    }

    pub(super) fn of_section(section: &Section) -> Self {
        Self { id: section.id.clone(), title: section.title.clone(), intro: section.intro.clone(), ..Self::default() }
    }

    pub(super) fn of_clause(clause: &Clause) -> Self {
        let source = match clause.source {
            Source::Licence => "licence",
            Source::Site => "site",
        };
        Self {
            id: clause.id.clone(),
            source: source.into(),
            field: clause.field.clone(),
            wording: clause.wording.clone(),
            ..Self::default()
        }
    }

    /// The question. Errors: numbers that are none, a kind or a need that is none.
    pub(super) fn question(&self) -> Result<Field, Error> {
        let mut faults = Vec::new();
        let mut number = |part: &'static str, typed: &str, otherwise: usize| match typed.trim() {
            "" => otherwise,
            digits => digits.parse().unwrap_or_else(|_| {
                faults.push(FieldError::new(part, "enter a whole number, such as 200"));
                otherwise
            }),
        };
        let kind = match self.kind.as_str() {
            "line" => Some(Kind::Line { chars_max: number("chars_max", &self.chars_max, 200) }),
            "text" => Some(Kind::Text {
                chars_max: number("chars_max", &self.chars_max, 1_500),
                chars_min: number("chars_min", &self.chars_min, 0),
                words_min: number("words_min", &self.words_min, 0),
            }),
            "choice" => Some(Kind::Choice { of: listed(&self.values) }),
            "ticks" => Some(Kind::Ticks { of: listed(&self.values) }),
            "country" => Some(Kind::Country),
            "email" => Some(Kind::Email),
            "url" => Some(Kind::Url),
            "orcid" => Some(Kind::Orcid),
            "months" => Some(Kind::Months),
            _ => None,
        };
        let need = match self.need.as_str() {
            "always" => Some(Need::Always),
            "optional" => Some(Need::Optional),
            "when" => Some(Need::When {
                field: self.on.trim().into(),
                is: self.is.split([',', ' ', '\n', '\r']).filter(|one| !one.is_empty()).map(str::to_owned).collect(),
            }),
            _ => None,
        };
        if kind.is_none() {
            faults.push(FieldError::new("kind", "choose one from the list"));
        }
        if need.is_none() {
            faults.push(FieldError::new("need", "choose one from the list"));
        }
        match (kind, need) {
            (Some(kind), Some(need)) if faults.is_empty() => Ok(Field {
                hint: flowing(&self.hint),
                kind,
                label: flowing(&self.label),
                name: named(&self.name, &self.label, '_', "question"),
                need,
            }),
            _ => Err(Error::Invalid(faults)),
        }
    }

    /// The section, without its questions.
    pub(super) fn section(&self) -> Section {
        Section {
            fields: vec![],
            id: named(&self.id, &self.title, '-', "section"),
            intro: flowing(&self.intro),
            title: flowing(&self.title),
        }
    }

    /// The clause. Errors: a source that is none.
    pub(super) fn clause(&self) -> Result<Clause, Error> {
        let source = match self.source.as_str() {
            "licence" => Source::Licence,
            "site" => Source::Site,
            _ => return Err(FieldError::new("source", "choose one from the list").into()),
        };
        let id = self.id.trim().to_owned();
        let field = match self.field.trim() {
            "" if id.is_empty() => format!("{BOX_PREFIX}clause"),
            "" => format!("{BOX_PREFIX}{}", id.replace('-', "_")),
            typed => typed.to_owned(),
        };
        Ok(Clause { field, id, source, wording: flowing(&self.wording) })
    }
}

/// Words as the form keeps them: white space of any kind is one space.
fn flowing(typed: &str) -> String {
    typed.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What was typed as a name; made from the words where nothing was, and `otherwise` where they have no letter for it.
fn named(typed: &str, words: &str, joint: char, otherwise: &str) -> String {
    let made = slug(words, joint);
    match (typed.trim(), made.trim_start_matches(|c: char| !c.is_ascii_lowercase())) {
        ("", "") => otherwise.to_owned(),
        ("", made) => made.to_owned(),
        (name, _) => name.to_owned(),
    }
}

/// `Size of your group` becomes `size_of_your_group`.
fn slug(words: &str, joint: char) -> String {
    let letters: String = words.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' }).collect();
    let mut slug = String::new();
    for word in letters.split_whitespace() {
        if slug.len() + word.len() >= 40 {
            break;
        }
        if !slug.is_empty() {
            slug.push(joint);
        }
        slug.push_str(word);
    }
    slug
}

fn listed(typed: &str) -> Vec<Listed> {
    let lines = typed.lines().map(flowing).filter(|line| !line.is_empty());
    lines
        .map(|line| match line.split_once(':') {
            Some((value, label)) => Listed { label: label.trim().to_owned(), value: value.trim().to_owned() },
            None => Listed { value: slug(&line, '_'), label: line },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::form::Form;
    use super::*;

    #[test]
    fn what_a_page_shows_makes_the_part_that_it_shows() {
        for section in Form::built_in().sections() {
            for field in &section.fields {
                assert_eq!(&Typed::of_question(&section.id, field).question().expect("it is a question"), field);
            }
            assert_eq!(Typed::of_section(section).section(), Section { fields: vec![], ..section.clone() });
        }
        for clause in Form::built_in().clauses() {
            assert_eq!(&Typed::of_clause(clause).clause().expect("it is a clause"), clause);
        }
    }

    #[test]
    fn names_and_values_are_made_from_words_where_none_are_typed() {
        let typed = Typed {
            label: " Size of your\r\ngroup? ".into(),
            values: "Up to 5\r\n\r\nmany: More than that\n".into(),
            kind: "choice".into(),
            ..Typed::new_question("you")
        };
        let field = typed.question().expect("it is a question");
        assert_eq!((field.name.as_str(), field.label.as_str()), ("size_of_your_group", "Size of your group?"));
        let values = |value: &str, label: &str| Listed { value: value.into(), label: label.into() };
        assert_eq!(field.kind, Kind::Choice { of: vec![values("up_to_5", "Up to 5"), values("many", "More than that")] });
        for (label, name) in [("2. How many people?", "how_many_people"), ("何人ですか", "question"), ("", "question")] {
            let typed = Typed { label: label.into(), ..Typed::new_question("you") };
            assert_eq!(typed.question().expect("it is a question").name, name, "{label}");
        }
        let clause = Typed { id: "site-age".into(), wording: "Old enough.".into(), ..Typed::new_clause() }.clause();
        assert_eq!(clause.expect("it is a clause").field, "agree_site_age");
    }

    #[test]
    fn what_is_no_number_kind_or_need_is_told() {
        let typed = Typed { chars_max: "many".into(), need: "perhaps".into(), ..Typed::new_question("you") };
        assert!(matches!(typed.question(), Err(Error::Invalid(faults)) if faults.len() == 2));
    }
}
