//! What changes from one form to another, pure.

use super::super::clause::{Clause, Source};
use super::super::form::{Field, Layout, Section};
use super::words;

/// One change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// `Added`, `Removed`, `Changed` or `Moved`.
    pub(super) verb: &'static str,
    /// The class of its badge.
    pub(super) class: &'static str,
    /// `Section`, `Question` or `Clause`.
    pub(super) part: &'static str,
    /// What it is called.
    pub(super) label: String,
    /// What of it: before and after.
    pub(super) details: Vec<Detail>,
}

/// One difference.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Detail {
    pub(super) what: &'static str,
    pub(super) before: String,
    pub(super) after: String,
}

/// Everything that is not the same, sections first, then questions, then clauses.
pub(super) fn changes(from: &Layout, to: &Layout) -> Vec<Change> {
    let mut changes = of_list("Section", &from.sections, &to.sections, |section| &section.id, |section| &section.title, of_section);
    let (was, is): (Vec<Asked>, Vec<Asked>) = (asked(from), asked(to));
    changes.extend(of_list("Question", &was, &is, |asked| &asked.field.name, |asked| &asked.field.label, of_question));
    changes.extend(of_list("Clause", &from.clauses, &to.clauses, |clause| &clause.id, |clause| &clause.wording, of_clause));
    changes
}

/// The names under which answers would be left behind: of questions and boxes that go.
pub(super) fn names_left(from: &Layout, to: &Layout) -> Vec<String> {
    let stays: Vec<String> = to.fields().flat_map(Field::sent_names).collect();
    from.fields().flat_map(Field::sent_names).filter(|name| !stays.contains(name)).collect()
}

struct Asked<'a> {
    section: &'a str,
    field: &'a Field,
}

fn asked(layout: &Layout) -> Vec<Asked<'_>> {
    let of_section = |section: &'_ Section| section.fields.len();
    let mut asked = Vec::with_capacity(layout.sections.iter().map(of_section).sum());
    for section in &layout.sections {
        asked.extend(section.fields.iter().map(|field| Asked { section: &section.id, field }));
    }
    asked
}

fn of_list<T>(
    part: &'static str,
    from: &[T],
    to: &[T],
    id: impl Fn(&T) -> &str,
    label: impl Fn(&T) -> &str,
    details: impl Fn(&T, &T) -> Vec<Detail>,
) -> Vec<Change> {
    let made = |verb, class, one: &T, details| Change { verb, class, part, label: label(one).to_owned(), details };
    let common = |list: &[T], other: &[T]| -> Vec<String> {
        list.iter().map(|one| id(one).to_owned()).filter(|name| other.iter().any(|known| id(known) == name)).collect()
    };
    let mut changes: Vec<Change> =
        from.iter().filter(|was| !to.iter().any(|is| id(is) == id(was))).map(|was| made("Removed", "bad", was, vec![])).collect();
    for is in to {
        match from.iter().find(|was| id(was) == id(is)) {
            None => changes.push(made("Added", "ok", is, vec![])),
            Some(was) => {
                let details = details(was, is);
                if !details.is_empty() {
                    changes.push(made("Changed", "warn", is, details));
                }
            }
        }
    }
    changes.extend(first_moved(&common(from, to), &common(to, from)).and_then(|name| {
        let is = to.iter().find(|is| id(is) == name)?;
        Some(made("Moved", "info", is, vec![]))
    }));
    changes
}

/// The first of two equal sets of names that stands in another place; the rest follows from it, mostly.
fn first_moved<'a>(from: &[String], to: &'a [String]) -> Option<&'a String> {
    to.iter().zip(from).find(|(is, was)| is != was).map(|(is, _)| is)
}

fn differing(pairs: impl IntoIterator<Item = (&'static str, String, String)>) -> Vec<Detail> {
    let differing = pairs.into_iter().filter(|(_, before, after)| before != after);
    differing.map(|(what, before, after)| Detail { what, before, after }).collect()
}

fn of_section(was: &Section, is: &Section) -> Vec<Detail> {
    differing([("Title", was.title.clone(), is.title.clone()), ("Introduction", was.intro.clone(), is.intro.clone())])
}

fn of_question(was: &Asked<'_>, is: &Asked<'_>) -> Vec<Detail> {
    let (before, after) = (was.field, is.field);
    differing([
        ("Label", before.label.clone(), after.label.clone()),
        ("Hint", before.hint.clone(), after.hint.clone()),
        ("Section", was.section.to_owned(), is.section.to_owned()),
        ("Needed", words::of_need(&before.need), words::of_need(&after.need)),
        ("Answer", words::of_kind(&before.kind), words::of_kind(&after.kind)),
        ("Values", words::values(&before.kind), words::values(&after.kind)),
    ])
}

fn of_clause(was: &Clause, is: &Clause) -> Vec<Detail> {
    let source = |clause: &Clause| match clause.source {
        Source::Licence => "the licence".to_owned(),
        Source::Site => "this portal".to_owned(),
    };
    differing([
        ("Wording", was.wording.clone(), is.wording.clone()),
        ("Rule of", source(was), source(is)),
        ("Box", was.field.clone(), is.field.clone()),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::super::form::{Kind, Need};
    use super::super::super::form_rules::tests::{built_in, question};
    use super::*;

    #[test]
    fn every_change_is_told_once() {
        let (from, mut to) = (built_in(), built_in());
        assert_eq!(changes(&from, &to), []);
        to.sections[0].title = "About you".into();
        let department = to.sections[0].fields.remove(2);
        assert_eq!(department.name, "department");
        to.sections[0].fields[0].need = Need::Optional;
        to.sections[0].fields[1].kind = Kind::Line { chars_max: 90 };
        to.sections[1].fields.push(question("size", Kind::Country, Need::Always));
        to.sections[2].fields.swap(1, 2);
        to.clauses[0].wording = "Other words.".into();
        let told: Vec<String> = changes(&from, &to)
            .into_iter()
            .map(|change| {
                let details = change.details.into_iter().map(|d| format!(" [{}: {} → {}]", d.what, d.before, d.after));
                format!("{} {} {}{}", change.verb, change.part, change.label, details.collect::<String>())
            })
            .collect();
        assert_eq!(
            told,
            [
                "Changed Section About you [Title: You → About you]",
                "Removed Question Department or group",
                "Changed Question Your role [Needed: always → optional]",
                "Changed Question Organisation [Answer: one line, at most 200 characters → one line, at most 90 characters]",
                "Added Question About size",
                "Moved Question In plain words",
                "Changed Clause Other words. [Wording: I will use the model for non-commercial research only, not for profit and not in production. → Other words.]",
            ]
        );
        assert_eq!(names_left(&from, &to), ["department"]);
    }
}
