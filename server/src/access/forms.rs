//! Which form is asked, and which was: a model's form now, the form that an application pins, and how answers come from one to the other.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use sqlx::PgConnection;

use super::answers::Answers;
use super::answers_view::{self, Answered};
use super::application::Application;
use super::form::{FORM_SHOWN, Form};
use super::store;
use crate::error::{Error, FieldError};
use crate::ids::ModelId;

/// Forms that were read lately, by name. A name is the hash of what it names, so what was read once stays true.
static READ: RwLock<Vec<Form>> = RwLock::new(Vec::new());
/// How many of them stay in memory: more than a portal asks at one time.
const READ_MAX: usize = 64;

/// The form that a model asks now.
pub async fn current(db: &mut PgConnection, model: ModelId) -> Result<Form, Error> {
    current_and(db, model, &[]).await
}

/// The same; in the one statement the forms of these names are read as well, for what asks for them next.
async fn current_and(db: &mut PgConnection, model: ModelId, names: &[String]) -> Result<Form, Error> {
    let (_, missing) = read_lately(names);
    let (current, others) = store::current_form(db, model, &missing).await?;
    keep(&others);
    Ok(current.unwrap_or_else(|| Form::built_in().clone()))
}

/// The form named so, if there is one.
pub(super) async fn named(db: &mut PgConnection, sha256: &str) -> Result<Option<Form>, Error> {
    if sha256 == Form::built_in().sha256() {
        return Ok(Some(Form::built_in().clone()));
    }
    Ok(find(db, &[sha256.to_owned()]).await?.pop())
}

/// The forms of these names; those that there are. The database is asked for what was not read lately.
async fn find(db: &mut PgConnection, names: &[String]) -> Result<Vec<Form>, Error> {
    let (mut found, missing) = read_lately(names);
    if !missing.is_empty() {
        let fetched = store::find_forms(db, &missing).await?;
        keep(&fetched);
        found.extend(fetched);
    }
    Ok(found)
}

/// Which of these forms were read lately, and the names of the others.
fn read_lately(names: &[String]) -> (Vec<Form>, Vec<String>) {
    let read = READ.read().unwrap_or_else(PoisonError::into_inner);
    let found: Vec<Form> = read.iter().filter(|form| names.iter().any(|name| name == form.sha256())).cloned().collect();
    let missing = names.iter().filter(|name| !found.iter().any(|form| form.sha256() == *name)).cloned().collect();
    (found, missing)
}

fn keep(fetched: &[Form]) {
    if fetched.is_empty() {
        return;
    }
    let mut read = READ.write().unwrap_or_else(PoisonError::into_inner);
    let too_many = (read.len() + fetched.len()).saturating_sub(READ_MAX).min(read.len());
    read.drain(..too_many);
    read.extend(fetched.iter().cloned());
}

/// The form that an application answers: the one it pins, or the one that its draft was written on.
pub(super) async fn of(db: &mut PgConnection, application: &Application) -> Result<Form, Error> {
    Ok(of_each(db, std::slice::from_ref(application)).await?.of(application).clone())
}

/// The forms of some applications.
pub(super) struct Forms(HashMap<String, Form>);

impl Forms {
    /// The form that one of them answers.
    pub(super) fn of(&self, application: &Application) -> &Form {
        // A form that an application names is kept: application_form_fk.
        self.0.get(application.form_name()).unwrap_or(Form::built_in())
    }
}

/// The forms that these applications answer, in one query at most.
pub(super) async fn of_each(db: &mut PgConnection, applications: &[Application]) -> Result<Forms, Error> {
    let mut names: Vec<String> = applications.iter().map(|application| application.form_name().to_owned()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| name != Form::built_in().sha256());
    let forms = find(db, &names).await?;
    Ok(Forms(forms.into_iter().map(|form| (form.sha256().to_owned(), form)).collect()))
}

/// What the fields of a posted page say, read by the form that the page showed. Errors: `Conflict` if that form is none of ours.
pub async fn read(db: &mut PgConnection, fields: Vec<(String, String)>) -> Result<Answers, Error> {
    let shown = fields.iter().find(|(name, _)| name == FORM_SHOWN).map_or("", |(_, value)| value.as_str());
    let form = match shown {
        "" => Form::built_in().clone(),
        name => named(db, name).await?.ok_or(Error::Conflict("this page shows a form that is not known here; load it again".into()))?,
    };
    Ok(Answers::from_fields(&form, fields))
}

/// A form with the answers that there are for it.
pub(super) struct Filled {
    pub(super) form: Form,
    pub(super) answers: Answers,
    /// Whether the answers were written on another form.
    pub(super) is_moved: bool,
    /// What was answered on another and has no place here.
    pub(super) left_over: Vec<Answered>,
}

/// These answers on the form that a model asks now, or on `pinned` where an application was sent back. One statement reads every form that it takes.
pub(super) async fn fill(db: &mut PgConnection, model: ModelId, pinned: Option<&str>, answers: Answers) -> Result<Filled, Error> {
    let mut names: Vec<String> = answers.left_over().into_keys().chain([answers.form_shown().to_owned()]).collect();
    names.retain(|name| !name.is_empty() && name != Form::built_in().sha256());
    let form = match pinned {
        Some(name) => {
            names.push(name.to_owned());
            find(db, &names).await?;
            named(db, name).await?.ok_or_else(|| Error::internal(format!("the form {name} is gone")))?
        }
        None => current_and(db, model, &names).await?,
    };
    if answers.is_empty() || answers.form_shown() == form.sha256() {
        let left_over = left_over(db, &answers).await?;
        return Ok(Filled { form, answers, is_moved: false, left_over });
    }
    let from = written_on(db, &answers).await?;
    let answers = answers.moved(&from, &form);
    let left_over = left_over(db, &answers).await?;
    Ok(Filled { form, answers, is_moved: true, left_over })
}

/// What these answers keep apart, as it is read.
async fn left_over(db: &mut PgConnection, answers: &Answers) -> Result<Vec<Answered>, Error> {
    let apart = answers.left_over();
    let names: Vec<String> = apart.keys().filter(|name| *name != Form::built_in().sha256()).cloned().collect();
    let forms = find(db, &names).await?;
    let forms = || forms.iter().chain([Form::built_in()]);
    let of = |(name, answers): (&String, &Answers)| {
        let form = forms().find(|form| form.sha256() == name);
        form.into_iter().flat_map(|form| answers_view::read(form, answers)).flat_map(|section| section.answers).collect::<Vec<_>>()
    };
    Ok(apart.iter().flat_map(of).collect())
}

/// The form that these answers were written on.
async fn written_on(db: &mut PgConnection, answers: &Answers) -> Result<Form, Error> {
    Ok(named(db, answers.form_shown()).await?.unwrap_or_else(|| Form::built_in().clone()))
}

/// What somebody typed, with what the draft holds that the form does not ask any more: it stays there until the application is sent.
pub(super) async fn with_left_over(db: &mut PgConnection, typed: Answers, draft: &Answers) -> Result<Answers, Error> {
    if draft.is_empty() || draft.form_shown() == typed.form_shown() {
        return Ok(typed.with_left_over_of(draft));
    }
    let (from, to) = (written_on(db, draft).await?, written_on(db, &typed).await?);
    Ok(typed.with_left_over_of(&draft.clone().moved(&from, &to)))
}

/// What is wrong when a page showed another form than the one that is asked now.
pub(super) fn changed() -> FieldError {
    FieldError::new(FORM_SHOWN, "it changed while you were writing; your answers are kept, check what is asked now")
}
