//! A table of numbers as it stands on a page, and as a file: CSV for spreadsheets, JSON lines for programs.

use actix_web::HttpResponse;
use actix_web::http::header;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Map, Value};

use super::csv;
use crate::error::Error;

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
    /// There is none.
    Nothing,
}

impl Cell {
    /// On the page.
    pub fn shown(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => thousands(*count),
            Cell::Number(number) => format!("{number:.1}"),
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
            Cell::Nothing => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Cell::Text(text) => Value::from(text.as_str()),
            Cell::Count(count) => Value::from(*count),
            Cell::Number(number) => Value::from(*number),
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

impl Format {
    /// The name and the format that a file's name tells.
    pub fn of(file: &str) -> Option<(&str, Self)> {
        let (name, ending) = file.rsplit_once('.')?;
        match ending {
            "csv" => Some((name, Format::Csv)),
            "jsonl" => Some((name, Format::JsonLines)),
            _ => None,
        }
    }

    /// What stands behind the dot.
    pub fn ending(self) -> &'static str {
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

    /// The beginning of an answer that is a file called `name`.
    pub fn answer(self, name: &str) -> actix_web::HttpResponseBuilder {
        let mut answer = HttpResponse::Ok();
        answer
            .insert_header((header::CONTENT_TYPE, self.media_type()))
            .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.{}\"", self.ending())))
            .insert_header((header::CACHE_CONTROL, "no-store"));
        answer
    }

    /// A file called `name`, streamed: `page` gives the lines from a place on, and the place where the next begin. It is asked when the
    /// reader has taken those before, so that millions of rows cost no memory.
    pub fn streamed<Place, Page>(self, name: &str, first_line: String, from: Place, page: impl Fn(Place) -> Page + 'static) -> HttpResponse
    where
        Place: 'static,
        Page: Future<Output = Result<(String, Option<Place>), Error>> + 'static,
    {
        let pages = stream::try_unfold(Some((first_line, from, page)), |state| async move {
            let Some((mut lines, from, page)) = state else { return Ok::<_, Error>(None) };
            let (more, next) = page(from).await?;
            lines.push_str(&more);
            Ok(Some((Bytes::from(lines), next.map(|next| (String::new(), next, page)))))
        });
        self.answer(name).streaming(pages)
    }
}

impl Table {
    /// The rows as a file, with the heads where the format has them.
    pub fn written(&self, format: Format) -> String {
        let mut text = match format {
            Format::Csv => self.head(),
            Format::JsonLines => String::new(),
        };
        self.rows.iter().for_each(|row| text.push_str(&line(format, &self.columns, row)));
        text
    }

    /// The rows, each as an object.
    pub fn objects(&self) -> Vec<Value> {
        self.rows.iter().map(|row| object(&self.columns, row)).collect()
    }

    /// The first line of a CSV file.
    pub fn head(&self) -> String {
        head(&self.columns)
    }

    /// The whole as an answer.
    pub fn file(&self, format: Format) -> HttpResponse {
        format.answer(self.name).body(self.written(format))
    }
}

/// The first line of a CSV file with these columns.
pub fn head(columns: &[Column]) -> String {
    format!("{}\r\n", columns.iter().map(|column| column.key).collect::<Vec<_>>().join(","))
}

/// One row as a line of a file.
pub fn line(format: Format, columns: &[Column], row: &[Cell]) -> String {
    match format {
        Format::Csv => format!("{}\r\n", row.iter().map(Cell::csv).collect::<Vec<_>>().join(",")),
        Format::JsonLines => format!("{}\n", object(columns, row)),
    }
}

fn object(columns: &[Column], row: &[Cell]) -> Value {
    let fields: Map<String, Value> = columns.iter().zip(row).map(|(column, cell)| (column.key.to_owned(), cell.json())).collect();
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
        let columns =
            vec![Column { key: "who", label: "Who" }, Column { key: "count", label: "How many" }, Column { key: "days", label: "Days" }];
        let rows = vec![vec![Cell::Text("=1+1".into()), Cell::Count(12_345), Cell::Nothing]];
        let table = Table { name: "test", columns, rows };
        assert_eq!(table.written(Format::Csv), "who,count,days\r\n\"'=1+1\",12345,\r\n");
        let line: Value = serde_json::from_str(&table.written(Format::JsonLines)).expect("one object");
        assert_eq!(line, serde_json::json!({ "who": "=1+1", "count": 12_345, "days": null }));
        assert_eq!(Format::of("waits.csv"), Some(("waits", Format::Csv)));
        assert_eq!(Format::of("waits"), None);
    }

    #[test]
    fn long_numbers_are_read_in_threes() {
        assert_eq!([0, 999, 1_000, -1_234_567].map(thousands), ["0", "999", "1,000", "−1,234,567"]);
    }
}
