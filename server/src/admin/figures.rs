//! What the counts of a year become: a plot, and the same numbers in a table.

use std::collections::HashMap;

use time::Date;

use super::statistics::called;
use crate::access::DeclineReason;
use crate::access::statistics::{Statistics, Unit};
use crate::accounts::Account;
use crate::catalog::human_bytes;
use crate::http::plot::{self, About, Measure, Plot, Series};
use crate::http::table::{Cell, Column, Table, thousands};
use crate::http::when;
use crate::{downloads, playground};

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;
/// Reviewers drawn; the table has all.
const REVIEWERS_DRAWN: usize = 12;

const COUNT: Measure = Measure { unit: "Counts", written: |value| thousands(value.round() as i64), step_min: 1.0 };
const DAYS: Measure = Measure { unit: "Days", written: |value| short(value, "d"), step_min: 0.1 };
const BYTES: Measure =
    Measure { unit: "Bytes", written: |value| if value < 1.0 { "0".into() } else { human_bytes(value as u64) }, step_min: 1.0 };
const TOKENS: Measure = Measure { unit: "Tokens", written: tokens, step_min: 1.0 };

/// Everything that was counted.
pub(super) struct Counts {
    pub(super) unit: Unit,
    /// The first day of each period.
    pub(super) periods: Vec<Date>,
    pub(super) applications: Statistics,
    pub(super) reviewers: Vec<Account>,
    pub(super) downloads: Vec<downloads::Volume>,
    pub(super) generations: Vec<playground::Volume>,
}

/// One part of the page.
pub(super) struct Figure {
    pub(super) title: &'static str,
    /// What the numbers mean, where the title does not say it.
    pub(super) note: &'static str,
    pub(super) plot: Plot,
    pub(super) table: Table,
}

/// Every part of the page, in its order.
pub(super) fn all(counts: &Counts) -> Vec<Figure> {
    vec![
        counts.sent(),
        counts.decided(),
        counts.reasons(),
        counts.waits(),
        counts.load(),
        counts.grants(),
        counts.downloaded(),
        counts.generated(),
    ]
}

impl Counts {
    fn sent(&self) -> Figure {
        let sent = self.by_period(self.applications.sent.iter().map(|row| (row.period, row.count)));
        let title = "Applications sent";
        let plot = plot::bars(self.about("sent", title, COUNT), &[series("sent", &sent)]);
        let table = self.table("sent", vec![column("sent", "Sent")], |at| vec![Cell::Count(sent[at])]);
        Figure { title, note: "Counted once, when they are sent first.", plot, table }
    }

    fn decided(&self) -> Figure {
        let of = |state: &str| {
            self.by_period(self.applications.closed.iter().filter(|row| row.state == state).map(|row| (row.period, row.count)))
        };
        let names = ["approved", "declined", "withdrawn", "lapsed"];
        let values = names.map(of);
        let title = "How applications ended";
        let drawn: Vec<Series> = names.iter().zip(&values).map(|(name, values)| series(name, values)).collect();
        let plot = plot::bars(self.about("outcomes", title, COUNT), &drawn);
        let columns = vec![
            column("approved", "Approved"),
            column("declined", "Declined"),
            column("withdrawn", "Withdrawn"),
            column("lapsed", "Lapsed"),
        ];
        let table = self.table("outcomes", columns, |at| values.iter().map(|values| Cell::Count(values[at])).collect());
        Figure {
            title,
            note: "Of those that had been sent. A decline that was appealed counts, and so does the decision on the appeal.",
            plot,
            table,
        }
    }

    fn reasons(&self) -> Figure {
        let count = |code: &str| -> i64 {
            self.applications.closed.iter().filter(|row| row.decline_code.as_deref() == Some(code)).map(|row| row.count).sum()
        };
        let mut reasons: Vec<(DeclineReason, i64)> =
            DeclineReason::ALL.into_iter().map(|reason| (reason, count(reason.as_str()))).collect();
        reasons.sort_by_key(|(_, count)| -count);
        let title = "Why applications were declined";
        let places = reasons.iter().map(|(reason, _)| reason.label().to_owned()).collect();
        let values: Vec<i64> = reasons.iter().map(|(_, count)| *count).collect();
        let plot = plot::rows(About { id: "reasons", title: title.into(), places, measure: COUNT }, &[series("declined", &values)]);
        let columns = vec![column("reason", "Reason"), column("label", "In words"), column("declined", "Declined")];
        let rows = reasons
            .iter()
            .map(|(reason, count)| vec![Cell::Text(reason.as_str().into()), Cell::Text(reason.label().into()), Cell::Count(*count)]);
        Figure {
            title,
            note: "All periods together. A decline that was appealed counts, and so does one on the appeal.",
            plot,
            table: Table { name: "reasons", columns, rows: rows.collect() },
        }
    }

    fn waits(&self) -> Figure {
        let rows: Vec<_> = self.periods.iter().map(|period| self.applications.waited.iter().find(|row| row.period == *period)).collect();
        let days = |of: fn(&crate::access::statistics::Waited) -> f64| rows.iter().map(|row| row.map(|row| of(row) / DAY_S)).collect();
        let title = "How long decisions took";
        let drawn = [
            Series { name: "half within", values: days(|row| row.median_s) },
            Series { name: "nine of ten within", values: days(|row| row.most_s) },
        ];
        let plot = plot::lines(self.about("waits", title, DAYS), &drawn);
        let columns = vec![
            column("decided", "Decided"),
            column("median_days", "Half within (days)"),
            column("p90_days", "Nine of ten within (days)"),
            column("in_time", "By the day promised"),
        ];
        let table = self.table("waits", columns, |at| match rows[at] {
            Some(row) => {
                vec![
                    Cell::Count(row.decided),
                    Cell::Number(row.median_s / DAY_S),
                    Cell::Number(row.most_s / DAY_S),
                    Cell::Count(row.in_time),
                ]
            }
            None => vec![Cell::Count(0), Cell::Nothing, Cell::Nothing, Cell::Count(0)],
        });
        Figure { title, note: "From the first sending to the decision that stands, in the period of that decision.", plot, table }
    }

    fn load(&self) -> Figure {
        let held: HashMap<_, _> = self.applications.held.iter().copied().collect();
        let mut people: Vec<(&Account, [i64; 3])> = self
            .reviewers
            .iter()
            .map(|person| {
                let load = self.applications.decisions.iter().find(|load| load.reviewer == person.id);
                let held = held.get(&person.id).copied().unwrap_or_default();
                (person, [load.map_or(0, |load| load.approved), load.map_or(0, |load| load.declined), held])
            })
            .collect();
        people.sort_by_key(|(person, counts)| (-counts.iter().sum::<i64>(), person.id));
        let title = "Who decided";
        let drawn: Vec<Series> = ["approved", "declined", "held now"]
            .into_iter()
            .enumerate()
            .map(|(kind, name)| series(name, &people.iter().take(REVIEWERS_DRAWN).map(|(_, counts)| counts[kind]).collect::<Vec<_>>()))
            .collect();
        let places = people.iter().take(REVIEWERS_DRAWN).map(|(person, _)| person.name.clone()).collect();
        let plot = plot::rows(About { id: "reviewers", title: title.into(), places, measure: COUNT }, &drawn);
        let columns = vec![
            column("reviewer", "Reviewer"),
            column("email", "E-mail"),
            column("approved", "Approved"),
            column("declined", "Declined"),
            column("held_now", "Cases held now"),
        ];
        let rows = people.into_iter().map(|(person, counts)| {
            let words = [person.name.clone(), person.email.to_string()].map(Cell::Text);
            words.into_iter().chain(counts.map(Cell::Count)).collect()
        });
        let table = Table { name: "reviewers", columns, rows: rows.collect() };
        Figure {
            title,
            note: "All periods together, declines that were appealed among them, and the cases each reviewer has claimed now.",
            plot,
            table,
        }
    }

    fn grants(&self) -> Figure {
        let mut now: i64 =
            self.applications.grants_moved.iter().filter(|row| Some(&row.period) < self.periods.first()).map(|row| row.by).sum();
        let moved = self.by_period(self.applications.grants_moved.iter().map(|row| (row.period, row.by)));
        let held: Vec<i64> = moved
            .iter()
            .map(|by| {
                now += by;
                now
            })
            .collect();
        let title = "Grants in force";
        let plot = plot::lines(self.about("grants", title, COUNT), &[series("in force", &held)]);
        let table = self.table("grants", vec![column("in_force", "In force")], |at| vec![Cell::Count(held[at])]);
        Figure { title, note: "At the end of each period; of the present one, as it would end.", plot, table }
    }

    fn downloaded(&self) -> Figure {
        let of = |value: fn(&downloads::Volume) -> i64| self.by_period(self.downloads.iter().map(|row| (row.period, value(row))));
        let (files, complete, bytes) = (of(|row| row.files), of(|row| row.complete), of(|row| row.bytes));
        let title = "Bytes downloaded";
        let plot = plot::bars(self.about("downloads", title, BYTES), &[series("sent", &bytes)]);
        let columns = vec![column("files", "Files"), column("complete", "Whole"), column("sent_bytes", "Bytes sent")];
        let table = self.table("downloads", columns, |at| [files[at], complete[at], bytes[at]].map(Cell::Count).into());
        Figure { title, note: "A file counts once for each person, release and day.", plot, table }
    }

    fn generated(&self) -> Figure {
        let of = |value: fn(&playground::Volume) -> i64| self.by_period(self.generations.iter().map(|row| (row.period, value(row))));
        let (count, read, made) = (of(|row| row.count), of(|row| row.prompt_tokens), of(|row| row.completion_tokens));
        let title = "Tokens generated";
        let drawn = [series("made", &made), series("read", &read)];
        let plot = plot::bars(self.about("generations", title, TOKENS), &drawn);
        let columns =
            vec![column("generations", "Generations"), column("prompt_tokens", "Tokens read"), column("completion_tokens", "Tokens made")];
        let table = self.table("generations", columns, |at| [count[at], read[at], made[at]].map(Cell::Count).into());
        Figure { title, note: "Counts alone: no prompt and no answer is kept.", plot, table }
    }

    fn about(&self, id: &'static str, title: &str, measure: Measure) -> About {
        About { id, title: title.into(), places: self.periods.iter().map(|day| called(self.unit, *day)).collect(), measure }
    }

    /// A number for each period; nothing was counted in those that are not named.
    fn by_period(&self, counted: impl Iterator<Item = (Date, i64)>) -> Vec<i64> {
        let mut values = vec![0; self.periods.len()];
        for (period, count) in counted {
            if let Ok(at) = self.periods.binary_search(&period) {
                values[at] += count;
            }
        }
        values
    }

    /// One row for each period, the newest first.
    fn table(&self, name: &'static str, columns: Vec<Column>, row: impl Fn(usize) -> Vec<Cell>) -> Table {
        let key = Column { key: "from", label: "From" };
        let rows = self
            .periods
            .iter()
            .enumerate()
            .rev()
            .map(|(at, day)| std::iter::once(Cell::Text(when::date_field(*day))).chain(row(at)).collect());
        Table { name, rows: rows.collect(), columns: std::iter::once(key).chain(columns).collect() }
    }
}

fn column(key: &'static str, label: &'static str) -> Column {
    Column { key, label }
}

fn series(name: &'static str, values: &[i64]) -> Series {
    Series { name, values: values.iter().map(|value| Some(*value as f64)).collect() }
}

/// `0.5 d`, `12 d`
fn short(value: f64, unit: &str) -> String {
    if value < 9.95 && value.fract() != 0.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// `850`, `12 k`, `3.5 M`
fn tokens(value: f64) -> String {
    match value {
        small if small < 1e3 => format!("{small:.0}"),
        small if small < 1e6 => short(small / 1e3, "k"),
        small if small < 1e9 => short(small / 1e6, "M"),
        large => short(large / 1e9, "G"),
    }
}
