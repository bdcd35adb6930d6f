//! Tables as files, CSV for spreadsheets and JSON lines for programs: at the address of the page they stand on, with an ending behind it.
//! And a table of numbers, which is drawn from the same cells.

use std::fmt::Display;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;

use super::{csv, when};
use crate::clock::Timestamp;
use crate::error::Error;

/// Rows of a file that are fetched at once.
pub const FILE_ROWS: i64 = 1_000;

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in files: stable, snake_case, with its unit.
    pub key: &'static str,
    /// Its head on the page.
    pub label: &'static str,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// How many.
    Count(i64),
    /// A measure, shown to one decimal.
    Number(f64),
    /// When; UTC.
    At(Timestamp),
    /// What has parts, or is yes or no.
    Parts(Value),
    /// There is none.
    Nothing,
}

impl Cell {
    /// Words.
    pub fn text(words: impl Display) -> Self {
        Cell::Text(words.to_string())
    }

    /// Words, if there are any.
    pub fn maybe(words: Option<impl Display>) -> Self {
        words.map_or(Cell::Nothing, Cell::text)
    }

    /// When, if it was.
    pub fn at(at: impl Into<Option<Timestamp>>) -> Self {
        at.into().map_or(Cell::Nothing, Cell::At)
    }

    /// On the page.
    pub fn shown(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => thousands(*count),
            Cell::Number(number) => format!("{number:.1}"),
            Cell::At(at) => when::minute(*at),
            Cell::Parts(parts) => parts.to_string(),
            Cell::Nothing => "–".into(),
        }
    }

    /// Whether it stands on the right.
    pub fn is_number(&self) -> bool {
        matches!(self, Cell::Count(_) | Cell::Number(_))
    }

    fn csv(&self) -> String {
        match self {
            Cell::Text(text) => csv::cell(text),
            Cell::Count(count) => count.to_string(),
            Cell::Number(number) => number.to_string(),
            Cell::At(at) => csv::moment(*at),
            Cell::Parts(parts) => csv::cell(&parts.to_string()),
            Cell::Nothing => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Cell::Text(text) => Value::from(text.as_str()),
            Cell::Count(count) => Value::from(*count),
            Cell::Number(number) => Value::from(*number),
            Cell::At(at) => at.format(&Rfc3339).map_or(Value::Null, Value::from),
            Cell::Parts(parts) => parts.clone(),
            Cell::Nothing => Value::Null,
        }
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name in files.
    pub name: &'static str,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

/// What a table becomes as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, no cell of which a spreadsheet computes.
    Csv,
    /// One object a line.
    JsonLines,
}

/// Rows of a file, and where those behind them begin, if there may be some.
pub type Rows<Place> = (Vec<Vec<Cell>>, Option<Place>);

impl FromRequest for Format {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    /// As the `{ending}` of the address says.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.match_info().get("ending").and_then(Format::ended).ok_or(Error::NotFound("file")))
    }
}

impl Format {
    /// The name and the format that a file's name tells.
    pub fn of(file: &str) -> Option<(&str, Self)> {
        let (name, ending) = file.rsplit_once('.')?;
        Some((name, Format::ended(ending)?))
    }

    fn ended(ending: &str) -> Option<Self> {
        [Format::Csv, Format::JsonLines].into_iter().find(|format| format.ending() == ending)
    }

    fn ending(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8",
            Format::JsonLines => "application/jsonl",
        }
    }

    fn answer(self, name: &str) -> actix_web::HttpResponseBuilder {
        let mut answer = HttpResponse::Ok();
        answer
            .insert_header((header::CONTENT_TYPE, self.media_type()))
            .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.{}\"", self.ending())))
            .insert_header((header::CACHE_CONTROL, "no-store"));
        answer
    }

    /// A file called `name` with these rows.
    pub fn whole(self, name: &str, keys: &[&str], rows: &[Vec<Cell>]) -> HttpResponse {
        self.answer(name).body(self.written(keys, rows))
    }

    /// A file called `name`, streamed: `page` gives the rows from a place on. It is asked when the reader has taken those before, so that
    /// millions of rows cost no memory.
    pub fn streamed<Place, Page>(
        self,
        name: &str,
        keys: &'static [&'static str],
        page: impl Fn(Option<Place>) -> Page + 'static,
    ) -> HttpResponse
    where
        Place: 'static,
        Page: Future<Output = Result<Rows<Place>, Error>> + 'static,
    {
        let pages = stream::try_unfold(Some((self.head(keys), None, page)), move |state| async move {
            let Some((mut lines, from, page)) = state else { return Ok::<_, Error>(None) };
            let (rows, next) = page(from).await?;
            rows.iter().for_each(|row| lines.push_str(&self.line(keys, row)));
            Ok(Some((Bytes::from(lines), next.map(|next| (String::new(), Some(next), page)))))
        });
        self.answer(name).streaming(pages)
    }

    fn written(self, keys: &[&str], rows: &[Vec<Cell>]) -> String {
        let mut text = self.head(keys);
        rows.iter().for_each(|row| text.push_str(&self.line(keys, row)));
        text
    }

    fn head(self, keys: &[&str]) -> String {
        match self {
            Format::Csv => format!("{}\r\n", keys.join(",")),
            Format::JsonLines => String::new(),
        }
    }

    fn line(self, keys: &[&str], row: &[Cell]) -> String {
        match self {
            Format::Csv => format!("{}\r\n", row.iter().map(Cell::csv).collect::<Vec<_>>().join(",")),
            Format::JsonLines => format!("{}\n", object(keys, row)),
        }
    }
}

/// Where the rows behind these begin, if there may be some: where as many came as are fetched at once.
pub fn behind<Row, Place>(rows: &[Row], at_once: i64, place: impl Fn(&Row) -> Place) -> Option<Place> {
    rows.last().filter(|_| rows.len() as i64 == at_once).map(place)
}

impl Table {
    /// The rows, each as an object.
    pub fn objects(&self) -> Vec<Value> {
        let keys = self.keys();
        self.rows.iter().map(|row| object(&keys, row)).collect()
    }

    /// The whole as a file.
    pub fn file(&self, format: Format) -> HttpResponse {
        format.whole(self.name, &self.keys(), &self.rows)
    }

    fn keys(&self) -> Vec<&'static str> {
        self.columns.iter().map(|column| column.key).collect()
    }
}

fn object(keys: &[&str], row: &[Cell]) -> Value {
    let fields: Map<String, Value> = keys.iter().zip(row).map(|(key, cell)| ((*key).to_owned(), cell.json())).collect();
    Value::Object(fields)
}

/// `1,234,567`
pub fn thousands(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if count < 0 { format!("−{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_for_spreadsheets_and_for_programs() {
        let keys = ["who", "count", "days", "at", "detail"];
        let at = time::macros::datetime!(2026-03-02 09:00:00.25 UTC);
        let row = vec![Cell::text("=1+1"), Cell::Count(12_345), Cell::Nothing, Cell::at(at), Cell::Parts(serde_json::json!({ "to": 1 }))];
        let csv = Format::Csv.written(&keys, std::slice::from_ref(&row));
        assert_eq!(csv, "who,count,days,at,detail\r\n\"'=1+1\",12345,,2026-03-02T09:00:00Z,\"{\"\"to\"\":1}\"\r\n");
        let line: Value = serde_json::from_str(&Format::JsonLines.written(&keys, &[row])).expect("one object");
        let expected =
            serde_json::json!({ "who": "=1+1", "count": 12_345, "days": null, "at": "2026-03-02T09:00:00.25Z", "detail": { "to": 1 } });
        assert_eq!(line, expected);
        assert_eq!(Format::of("waits.csv"), Some(("waits", Format::Csv)));
        assert_eq!(Format::of("waits"), None);
    }

    #[test]
    fn rows_are_behind_a_full_page_alone() {
        assert_eq!(behind(&[1, 2], 2, |row| *row), Some(2));
        assert_eq!(behind(&[1], 2, |row| *row), None);
    }

    #[test]
    fn long_numbers_are_read_in_threes() {
        assert_eq!([0, 999, 1_000, -1_234_567].map(thousands), ["0", "999", "1,000", "−1,234,567"]);
    }
}
