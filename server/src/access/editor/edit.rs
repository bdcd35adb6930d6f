//! Changes to a form while it is written, pure. A change that leaves the part it was made on wrong is refused; what it makes wrong
//! elsewhere (a condition on a question that goes) is told on the draft's page and stands in the way of publishing alone.

use super::super::clause::Clause;
use super::super::form::{Field, Layout, Section};
use super::super::form_rules::{self, Fault, Place};
use crate::error::{Error, FieldError};

/// What a form consists of, as the addresses of the editor's pages call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Section,
    Question,
    Clause,
}

impl Part {
    pub(super) fn parse(word: &str) -> Result<Self, Error> {
        let part = [Part::Section, Part::Question, Part::Clause].into_iter().find(|part| part.as_str() == word);
        part.ok_or(Error::NotFound("part of a form"))
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Part::Section => "sections",
            Part::Question => "questions",
            Part::Clause => "clauses",
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Part::Section => "section",
            Part::Question => "question",
            Part::Clause => "clause",
        }
    }

    fn gone(self) -> Error {
        Error::NotFound(match self {
            Part::Section => "section of the form",
            Part::Question => "question of the form",
            Part::Clause => "clause of the form",
        })
    }
}

/// Which way something is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// Where a question stands: the places of its section and of itself in it.
pub(super) fn find_question(layout: &Layout, name: &str) -> Result<(usize, usize), Error> {
    let place = |(s, section): (usize, &Section)| section.fields.iter().position(|field| field.name == name).map(|f| (s, f));
    layout.sections.iter().enumerate().find_map(place).ok_or(Part::Question.gone())
}

pub(super) fn find_section(layout: &Layout, id: &str) -> Result<usize, Error> {
    layout.sections.iter().position(|section| section.id == id).ok_or(Part::Section.gone())
}

pub(super) fn find_clause(layout: &Layout, id: &str) -> Result<usize, Error> {
    layout.clauses.iter().position(|clause| clause.id == id).ok_or(Part::Clause.gone())
}

/// Puts a question where `was` stood, or at the end of its section when it is new or comes from another one.
pub(super) fn put_question(layout: &mut Layout, was: Option<&str>, section: &str, field: Field) -> Result<(), Error> {
    let place = Place::Question(field.name.clone());
    let to =
        find_section(layout, section).map_err(|_| FieldError::new("section", "this section is no longer in the form; choose another"))?;
    checked(layout, &place, |layout| {
        match was.map(|name| find_question(layout, name)).transpose()? {
            Some((s, f)) if s == to => layout.sections[s].fields[f] = field,
            Some((s, f)) => {
                layout.sections[s].fields.remove(f);
                layout.sections[to].fields.push(field);
            }
            None => layout.sections[to].fields.push(field),
        }
        Ok(())
    })
}

/// Puts the head of a section where `was` stood, or a new one at the end. Its questions stay.
pub(super) fn put_section(layout: &mut Layout, was: Option<&str>, head: Section) -> Result<(), Error> {
    let place = Place::Section(head.id.clone());
    checked(layout, &place, |layout| {
        match was.map(|id| find_section(layout, id)).transpose()? {
            Some(s) => {
                let fields = std::mem::take(&mut layout.sections[s].fields);
                layout.sections[s] = Section { fields, ..head };
            }
            None => layout.sections.push(head),
        }
        Ok(())
    })
}

/// Puts a clause where `was` stood, or a new one at the end.
pub(super) fn put_clause(layout: &mut Layout, was: Option<&str>, clause: Clause) -> Result<(), Error> {
    let place = Place::Clause(clause.id.clone());
    checked(layout, &place, |layout| {
        match was.map(|id| find_clause(layout, id)).transpose()? {
            Some(c) => layout.clauses[c] = clause,
            None => layout.clauses.push(clause),
        }
        Ok(())
    })
}

/// Takes something away. Errors: `Conflict` for a section that still has questions.
pub(super) fn remove(layout: &mut Layout, part: Part, name: &str) -> Result<(), Error> {
    match part {
        Part::Question => {
            let (s, f) = find_question(layout, name)?;
            layout.sections[s].fields.remove(f);
        }
        Part::Clause => {
            layout.clauses.remove(find_clause(layout, name)?);
        }
        Part::Section => {
            let s = find_section(layout, name)?;
            if !layout.sections[s].fields.is_empty() {
                return Err(Error::Conflict("this section has questions; move or remove them first, then remove the section".into()));
            }
            layout.sections.remove(s);
        }
    }
    Ok(())
}

/// Moves something by one place; a question at the edge of its section goes over into the next. At the end of the form it stays.
pub(super) fn shift(layout: &mut Layout, part: Part, name: &str, way: Way) -> Result<(), Error> {
    match part {
        Part::Section => swap(&mut layout.sections, |section| section.id == name, way).ok_or(part.gone()),
        Part::Clause => swap(&mut layout.clauses, |clause| clause.id == name, way).ok_or(part.gone()),
        Part::Question => {
            let (s, f) = find_question(layout, name)?;
            let (is_at_edge, next) = match way {
                Way::Up => (f == 0, s.checked_sub(1)),
                Way::Down => (f + 1 == layout.sections[s].fields.len(), (s + 1 < layout.sections.len()).then_some(s + 1)),
            };
            match (is_at_edge, next) {
                (true, Some(next)) => {
                    let field = layout.sections[s].fields.remove(f);
                    let at = if way == Way::Up { layout.sections[next].fields.len() } else { 0 };
                    layout.sections[next].fields.insert(at, field);
                }
                (true, None) => {}
                (false, _) => layout.sections[s].fields.swap(f, if way == Way::Up { f - 1 } else { f + 1 }),
            }
            Ok(())
        }
    }
}

fn swap<T>(list: &mut [T], is_it: impl Fn(&T) -> bool, way: Way) -> Option<()> {
    let at = list.iter().position(is_it)?;
    let to = if way == Way::Up { at.saturating_sub(1) } else { (at + 1).min(list.len() - 1) };
    list.swap(at, to);
    Some(())
}

/// Makes a change and looks at what it was made on. Errors: `Invalid` with every rule that it breaks there, or that the form breaks since.
fn checked(layout: &mut Layout, place: &Place, change: impl FnOnce(&mut Layout) -> Result<(), Error>) -> Result<(), Error> {
    let before = form_rules::faults(layout);
    change(layout)?;
    let is_new = |fault: &Fault| match &fault.place {
        // A section begins without questions.
        at if at == place => fault.part != "questions",
        Place::Form => !before.contains(fault),
        Place::Section(_) | Place::Question(_) | Place::Clause(_) => false,
    };
    let faults: Vec<FieldError> = form_rules::faults(layout).into_iter().filter(is_new).map(of_input).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// A fault as the page of a part tells it: beside the input of that name, or at its head.
fn of_input(fault: Fault) -> FieldError {
    match fault.place {
        Place::Form => FieldError::new("form", format!("The form’s {} {}", fault.part, fault.message)),
        Place::Section(_) | Place::Question(_) | Place::Clause(_) => FieldError::new(fault.part, fault.message),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::form::{Kind, Need};
    use super::super::super::form_rules::tests::{built_in, question};
    use super::*;

    fn order(layout: &Layout) -> String {
        let section =
            |section: &Section| format!("{}: {}", section.id, section.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(" "));
        layout.sections[..2].iter().map(section).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn a_question_moves_through_its_section_and_on_into_the_next() {
        let mut layout = built_in();
        let you = "you: role organisation department country profile_url";
        shift(&mut layout, Part::Question, "orcid", Way::Down).expect("it is asked");
        assert_eq!(order(&layout), format!("{you} | sponsor: orcid sponsor_name sponsor_email sponsor_relation"));
        shift(&mut layout, Part::Question, "orcid", Way::Up).expect("it is asked");
        assert_eq!(order(&layout), format!("{you} orcid | sponsor: sponsor_name sponsor_email sponsor_relation"));
        shift(&mut layout, Part::Question, "organisation", Way::Up).expect("it is asked");
        shift(&mut layout, Part::Question, "organisation", Way::Up).expect("it is at the top, and stays");
        assert!(order(&layout).starts_with("you: organisation role"));
        shift(&mut layout, Part::Section, "you", Way::Up).expect("it is at the top, and stays");
        shift(&mut layout, Part::Section, "you", Way::Down).expect("it is there");
        assert!(order(&layout).starts_with("sponsor: sponsor_name"));
        assert!(shift(&mut layout, Part::Clause, "nothing", Way::Up).is_err());
    }

    #[test]
    fn what_is_put_is_looked_at_and_what_it_touches_elsewhere_is_not() {
        let mut layout = built_in();
        let url = |name: &str| question(name, Kind::Url, Need::Optional);
        put_question(&mut layout, None, "you", url("page")).expect("it is right");
        let refused = put_question(&mut layout.clone(), None, "you", url("role")).expect_err("it is taken");
        assert!(matches!(&refused, Error::Invalid(faults) if faults.iter().any(|fault| fault.field == "name")), "{refused:?}");
        // Three questions wait for the role; to rename it is allowed, and then they stand in the way of publishing.
        let mut role = layout.sections[0].fields[0].clone();
        role.name = "position".into();
        put_question(&mut layout, Some("role"), "sponsor", role).expect("it is right by itself");
        assert_eq!(form_rules::faults(&layout).len(), 3);
        assert!(order(&layout).ends_with("sponsor_relation position"), "{}", order(&layout));
        let optional = Field { need: Need::Optional, ..layout.sections[2].fields[0].clone() };
        let refused = put_question(&mut layout, Some("title"), "project", optional).expect_err("the portal needs a title");
        assert!(refused.to_string().contains("answered always"), "{refused}");
    }

    #[test]
    fn a_section_goes_when_it_is_empty() {
        let mut layout = built_in();
        assert!(matches!(remove(&mut layout, Part::Section, "you"), Err(Error::Conflict(_))));
        let head = Section { fields: vec![], id: "more".into(), intro: String::new(), title: "More".into() };
        put_section(&mut layout, None, head.clone()).expect("it begins empty");
        put_section(&mut layout, Some("you"), Section { id: "who".into(), ..head.clone() }).expect("its questions stay");
        assert_eq!((layout.sections[0].id.as_str(), layout.sections[0].fields.len()), ("who", 6));
        assert!(put_section(&mut layout, None, head).is_err(), "its id is taken");
        layout.sections.pop();
        remove(&mut layout, Part::Section, "more").expect("it is empty");
    }
}
