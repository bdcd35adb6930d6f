//! The page that tells everybody how long applications take, and its table as a file. `turnaround.rs` decides what may be told.

use std::collections::{BTreeMap, HashMap};

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use sqlx::PgConnection;
use time::{Date, Duration};

use super::decline::DeclineReason;
use super::statistics::Decided;
use super::store;
use super::turnaround::{FEWEST, Reasons, Shown, quarter, reasons, shown};
use crate::catalog::{self, Gate, Model};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::page::page;
use crate::http::table::{Cell, Column, Format, Table};
use crate::http::{Frame, when};
use crate::ids::ModelId;
use crate::portal::Portal;

/// Months that are told, all of them over.
const MONTHS: usize = 12;
/// Models that are told.
const MODELS_MAX: i64 = 1_000;
/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

#[derive(Template)]
#[template(path = "access/turnaround.html")]
struct TurnaroundPage {
    frame: Frame,
    fewest: i64,
    models: Vec<ModelPart>,
    /// Models of which nothing can be told.
    others: Vec<Model>,
}

struct ModelPart {
    model: Model,
    months: Vec<MonthRow>,
    quarters: Vec<QuarterPart>,
}

struct MonthRow {
    month: String,
    shown: Option<MonthCells>,
}

struct MonthCells {
    decided: i64,
    median: String,
    most: String,
    in_time: String,
    outcomes: Option<(i64, i64)>,
}

pub(super) struct QuarterPart {
    /// Its first day.
    pub(super) first: Date,
    pub(super) reasons: Reasons,
}

impl QuarterPart {
    fn called(&self) -> String {
        format!("{} to {}", called(self.first), called(last_month(self.first)))
    }
}

/// `GET /turnaround`
pub(super) async fn turnaround(portal: Data<Portal>, frame: Frame) -> Result<HttpResponse, Error> {
    let told = Told::read(&mut *portal.db.acquire().await?, portal.clock.now()).await?;
    let (models, others) = told.models.iter().partition::<Vec<_>, _>(|model| told.says_anything_of(model.id));
    page(&TurnaroundPage {
        frame,
        fewest: FEWEST,
        models: models.into_iter().map(|model| told.part(model)).collect(),
        others: others.into_iter().cloned().collect(),
    })
}

/// `GET /turnaround.{ending}`
pub(super) async fn turnaround_file(portal: Data<Portal>, format: Format) -> Result<HttpResponse, Error> {
    let told = Told::read(&mut *portal.db.acquire().await?, portal.clock.now()).await?;
    Ok(told.table().file(format))
}

/// All that is known; what may be said of it is asked of `turnaround.rs`.
pub(super) struct Told {
    /// Those that are given by application and on offer.
    pub(super) models: Vec<Model>,
    /// The first days, the newest first.
    pub(super) months: Vec<Date>,
    decided: HashMap<(ModelId, Date), Decided>,
    declined: Vec<(ModelId, Date, String, i64)>,
}

impl Told {
    pub(super) async fn read(db: &mut PgConnection, now: Timestamp) -> Result<Self, Error> {
        let months = months(now.date());
        let until = first_of_month(now.date());
        let from = months.last().copied().unwrap_or(until);
        let (from, until) = (from.midnight().assume_utc(), until.midnight().assume_utc());
        let models = catalog::list_all_models(db, MODELS_MAX).await?;
        let on_offer = catalog::main_releases(db, &models.iter().map(|model| model.id).collect::<Vec<_>>()).await?;
        let decided = store::decided_by_model(db, from, until).await?;
        Ok(Self {
            models: models.into_iter().filter(|model| model.gate == Gate::Application && on_offer.contains_key(&model.id)).collect(),
            months,
            decided: decided.into_iter().map(|row| ((row.model, row.month), row)).collect(),
            declined: store::declined_by_model(db, from, until).await?,
        })
    }

    pub(super) fn shown(&self, model: ModelId, month: Date) -> Option<Shown> {
        self.decided.get(&(model, month)).and_then(shown)
    }

    fn says_anything_of(&self, model: ModelId) -> bool {
        self.months.iter().any(|month| self.shown(model, *month).is_some())
    }

    fn part(&self, model: &Model) -> ModelPart {
        let months = self.months.iter().map(|month| MonthRow {
            month: called(*month),
            shown: self.shown(model.id, *month).map(|shown| MonthCells {
                decided: shown.decided,
                median: when::span(Duration::seconds_f64(shown.median_s)),
                most: when::span(Duration::seconds_f64(shown.most_s)),
                in_time: shown.in_time.told(),
                outcomes: shown.outcomes,
            }),
        });
        ModelPart { months: months.collect(), quarters: self.quarters(model.id), model: model.clone() }
    }

    /// Quarters that are over, the newest first.
    pub(super) fn quarters(&self, model: ModelId) -> Vec<QuarterPart> {
        let mut counts: BTreeMap<Date, HashMap<DeclineReason, i64>> = BTreeMap::new();
        let told = self.declined.iter().filter(|(of, month, _, _)| {
            // One month more or less in a quarter would tell that month.
            let is_whole = self.months.contains(&quarter(*month)) && self.months.contains(&last_month(*month));
            *of == model && is_whole && self.shown(model, *month).is_some_and(|shown| shown.outcomes.is_some())
        });
        for (_, month, code, count) in told {
            let Ok(reason) = code.parse::<DeclineReason>() else { continue };
            *counts.entry(quarter(*month)).or_default().entry(reason).or_default() += count;
        }
        let parts = counts.into_iter().rev().filter_map(|(first, counts)| reasons(counts).map(|reasons| QuarterPart { first, reasons }));
        parts.collect()
    }

    fn table(&self) -> Table {
        let columns = [
            ("model", "Model"),
            ("month", "Month"),
            ("decided", "Decided"),
            ("median_days", "Half within (days)"),
            ("p90_days", "Nine of ten within (days)"),
            ("in_time", "On time"),
            ("approved", "Approved"),
            ("declined", "Declined"),
        ];
        let mut rows = Vec::new();
        for model in &self.models {
            for month in &self.months {
                let mut row = vec![Cell::Text(model.full_name()), Cell::Text(when::date_field(*month))];
                let shown = self.shown(model.id, *month);
                match &shown {
                    Some(shown) => row.extend([
                        Cell::Count(shown.decided),
                        Cell::Number(rounded(shown.median_s)),
                        Cell::Number(rounded(shown.most_s)),
                        Cell::Text(shown.in_time.told()),
                    ]),
                    None => row.extend([Cell::Text(format!("fewer than {FEWEST}")), Cell::Nothing, Cell::Nothing, Cell::Nothing]),
                }
                match shown.and_then(|shown| shown.outcomes) {
                    Some((approved, declined)) => row.extend([Cell::Count(approved), Cell::Count(declined)]),
                    None => row.extend([Cell::Nothing, Cell::Nothing]),
                }
                rows.push(row);
            }
        }
        Table { name: "turnaround", columns: columns.map(|(key, label)| Column { key, label }).into(), rows }
    }
}

/// In days, as finely as the page says it.
pub(super) fn rounded(seconds: f64) -> f64 {
    (seconds / DAY_S * 10.0).round() / 10.0
}

/// The first days of the months that are over, the newest first.
fn months(today: Date) -> Vec<Date> {
    let mut day = first_of_month(today);
    let mut months = Vec::new();
    for _ in 0..MONTHS {
        day = first_of_month(day - Duration::DAY);
        months.push(day);
    }
    months
}

fn first_of_month(day: Date) -> Date {
    day.replace_day(1).unwrap_or(day)
}

/// The first day of the last month of the quarter of a day.
fn last_month(day: Date) -> Date {
    first_of_month(quarter(day) + Duration::days(70))
}

/// `March 2026`
fn called(month: Date) -> String {
    format!("{} {}", month.month(), month.year())
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn months_are_told_when_they_are_over() {
        let months = months(date!(2026 - 03 - 02));
        assert_eq!((months.len(), months[0], months[11]), (12, date!(2026 - 02 - 01), date!(2025 - 03 - 01)));
        assert_eq!(last_month(date!(2026 - 01 - 15)), date!(2026 - 03 - 01));
        assert_eq!(last_month(date!(2025 - 12 - 01)), date!(2025 - 12 - 01));
        assert_eq!(called(date!(2026 - 03 - 01)), "March 2026");
    }
}
