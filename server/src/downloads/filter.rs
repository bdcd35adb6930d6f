//! Which rows of the ledger somebody wants to see, as they asked for them in a URL.

use serde::Deserialize;
use time::Date;
use url::form_urlencoded;

use super::ledger::{Before, Download};
use crate::error::{Error, FieldError};
use crate::http::when;
use crate::ids::AccountId;

/// Rows on one page.
pub const PAGE_ROWS: usize = 50;
/// How long a search may be.
const TEXT_CHARS_MAX: usize = 200;

/// Which rows. Nothing set: all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those of these accounts.
    pub accounts: Option<Vec<AccountId>>,
    /// Only of models whose name contains this.
    pub model: String,
    /// Only complete ones, or only those in part.
    pub complete: Option<bool>,
    /// Only from this day on.
    pub from: Option<Date>,
    /// Only up to this day.
    pub to: Option<Date>,
}

/// The filter as a form sends it. What cannot be read filters nothing, and the page shows that it is not chosen.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Part of a model's name.
    pub model: String,
    /// Part of a name or address; for the admin.
    pub who: String,
    /// `complete` or `part`.
    pub state: String,
    /// `2026-03-02`
    pub from: String,
    /// `2026-03-31`
    pub to: String,
    before: Option<String>,
}

impl Asked {
    /// The filter as a program sends it.
    pub fn new(model: Option<String>, who: Option<String>, state: Option<String>, from: Option<String>, to: Option<String>) -> Self {
        let [model, who, state, from, to] = [model, who, state, from, to].map(Option::unwrap_or_default);
        Self { model, who, state, from, to, before: None }
    }

    /// The rows meant, as [`Asked::filter`]. Errors: `Invalid` for what cannot be read: a program does not see that it is not chosen.
    pub fn understood(&self) -> Result<Filter, Error> {
        let filter = self.filter();
        let is_day = |field, typed: &str, read: Option<Date>| match (typed, read) {
            ("", _) | (_, Some(_)) => None,
            (_, None) => Some(FieldError::new(field, "is a day such as 2026-03-02")),
        };
        let is_state = matches!(self.state.as_str(), "" | "complete" | "part");
        let state = (!is_state).then(|| FieldError::new("state", "is complete or part"));
        let faults = [state, is_day("from", &self.from, filter.from), is_day("to", &self.to, filter.to)];
        let faults: Vec<FieldError> = faults.into_iter().flatten().collect();
        if faults.is_empty() { Ok(filter) } else { Err(Error::Invalid(faults)) }
    }

    /// The rows meant, but for whose they are.
    pub fn filter(&self) -> Filter {
        let complete = match self.state.as_str() {
            "complete" => Some(true),
            "part" => Some(false),
            _ => None,
        };
        let (from, to) = (when::parse_date_field(&self.from), when::parse_date_field(&self.to));
        Filter { accounts: None, model: text(&self.model), complete, from, to }
    }

    /// Whose rows are meant.
    pub fn who(&self) -> String {
        text(&self.who)
    }

    /// Whether anything is filtered.
    pub fn is_filtered(&self) -> bool {
        [&self.model, &self.who, &self.state, &self.from, &self.to].iter().any(|field| !field.is_empty())
    }

    /// Where the page begins. Errors: `Invalid` for what no page has given.
    pub fn before(&self) -> Result<Option<Before>, Error> {
        Ok(self.before.as_deref().map(str::parse::<Before>).transpose()?)
    }

    /// What stands behind `?` for the same rows: from their beginning, or from a place on.
    pub fn query(&self, before: Option<Before>) -> String {
        let fields = [("model", &self.model), ("who", &self.who), ("state", &self.state), ("from", &self.from), ("to", &self.to)];
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(fields.iter().filter(|(_, value)| !value.is_empty()));
        if let Some(before) = before {
            query.append_pair("before", &before.to_string());
        }
        query.finish()
    }
}

/// What the rows are together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many rows.
    pub rows: i64,
    /// How many of them are complete.
    pub complete: i64,
    /// The bytes that were sent for them.
    pub sent_bytes: i64,
    /// How many accounts they are of.
    pub accounts: i64,
}

/// The rows of a page out of one more than it has, and where the next begins.
pub fn cut(mut rows: Vec<Download>) -> (Vec<Download>, Option<Before>) {
    let is_more = rows.len() > PAGE_ROWS;
    rows.truncate(PAGE_ROWS);
    let next = rows.last().filter(|_| is_more).map(|last| Before { at: last.last_at, id: last.id });
    (rows, next)
}

fn text(raw: &str) -> String {
    raw.trim().chars().filter(|c| *c != '\0').take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_goes_along_from_page_to_page_and_nonsense_filters_nothing() {
        let asked =
            Asked { model: "lab/opt 1".into(), state: "part".into(), from: "2026-03-02".into(), to: "soon".into(), ..Asked::default() };
        let filter = asked.filter();
        assert_eq!((filter.model.as_str(), filter.complete, filter.to), ("lab/opt 1", Some(false), None));
        assert_eq!(asked.query(None), "model=lab%2Fopt+1&state=part&from=2026-03-02&to=soon");
        assert!(asked.is_filtered() && !Asked::default().is_filtered());
    }
}
