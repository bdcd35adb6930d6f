//! Statistics: a year of applications, waits, decisions, grants, downloads and generations, drawn, in tables, and as files.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;
use time::{Date, Duration, Month};
use url::form_urlencoded;

use super::figures::{self, Counts, Figure};
use crate::access::statistics::{self, Span, Unit};
use crate::accounts::{self, Admin};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::Frame;
use crate::http::page::page;
use crate::http::table::Format;
use crate::ids::{AccountId, ModelId};
use crate::portal::Portal;
use crate::{downloads, playground};

/// Models to choose from.
const MODELS_MAX: i64 = 1_000;
/// Months shown, this one among them.
const MONTHS: usize = 12;
/// Weeks shown, this one among them.
const WEEKS: usize = 53;

/// What is asked for. What cannot be read chooses nothing, and the page shows that it is not chosen.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    model: String,
    by: String,
}

impl Asked {
    /// By this unit, of this model or of all.
    pub(super) fn new(unit: Unit, model: Option<ModelId>) -> Self {
        Self { model: model.map(|id| id.to_string()).unwrap_or_default(), by: unit.as_str().into() }
    }

    fn unit(&self) -> Unit {
        if self.by == Unit::Week.as_str() { Unit::Week } else { Unit::Month }
    }

    fn model(&self) -> Option<ModelId> {
        self.model.parse().ok()
    }

    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([("model", self.model.as_str()), ("by", self.unit().as_str())].iter().filter(|(_, value)| !value.is_empty()));
        query.finish()
    }
}

#[derive(Template)]
#[template(path = "admin/statistics.html")]
struct StatisticsPage {
    frame: Frame,
    models: Vec<Model>,
    asked: Asked,
    query: String,
    is_by_week: bool,
    figures: Vec<Figure>,
}

/// `GET /admin/statistics`
pub(super) async fn statistics(portal: Data<Portal>, frame: Frame, _: Admin, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    let asked = asked.into_inner();
    let mut db = portal.db.acquire().await?;
    let figures = figures(&mut db, portal.clock.now(), &asked).await?;
    page(&StatisticsPage {
        frame,
        models: catalog::list_all_models(&mut db, MODELS_MAX).await?,
        query: asked.query(),
        is_by_week: asked.unit() == Unit::Week,
        asked,
        figures,
    })
}

#[derive(Template)]
#[template(path = "admin/figure.html")]
struct FigurePage {
    frame: Frame,
    /// Of one model, if one was chosen.
    model: Option<Model>,
    query: String,
    is_by_week: bool,
    figure: Figure,
}

/// `GET /admin/statistics/{file}`: one part with its numbers, such as `waits`, or its table alone, as `waits.csv` or `waits.jsonl`.
pub(super) async fn file(
    portal: Data<Portal>,
    frame: Frame,
    _: Admin,
    file: Path<String>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    let (name, format) = Format::of(&file).map_or((file.as_str(), None), |(name, format)| (name, Some(format)));
    let mut db = portal.db.acquire().await?;
    let figures = figures(&mut db, portal.clock.now(), &asked).await?;
    let figure = figures.into_iter().find(|figure| figure.table.name == name).ok_or(Error::NotFound("page"))?;
    if let Some(format) = format {
        return Ok(figure.table.file(format));
    }
    let model = match asked.model() {
        Some(id) => catalog::find_models(&mut db, &[id]).await?.pop(),
        None => None,
    };
    page(&FigurePage { frame, model, query: asked.query(), is_by_week: asked.unit() == Unit::Week, figure })
}

/// Everything that was counted, part by part.
pub(super) async fn figures(db: &mut PgConnection, now: Timestamp, asked: &Asked) -> Result<Vec<Figure>, Error> {
    let (unit, model) = (asked.unit(), asked.model());
    let periods = periods(unit, now.date());
    let (Some(first), until) = (periods.first().copied(), after(unit, periods.last().copied().unwrap_or(now.date()))) else {
        return Ok(vec![]);
    };
    let span = Span { unit, from: first.midnight().assume_utc(), until: until.midnight().assume_utc(), model };
    let applications = statistics::statistics(db, &span).await?;
    let reviewers: Vec<AccountId> =
        applications.decisions.iter().map(|load| load.reviewer).chain(applications.held.iter().map(|(reviewer, _)| *reviewer)).collect();
    let counts = Counts {
        unit,
        periods,
        applications,
        reviewers: accounts::find_accounts(db, &reviewers).await?,
        downloads: downloads::volumes(db, unit.as_str(), first, until, model).await?,
        generations: playground::volumes(db, unit.as_str(), span.from, span.until, model).await?,
    };
    Ok(figures::all(&counts))
}

/// The first days of the last periods, the present one among them.
fn periods(unit: Unit, today: Date) -> Vec<Date> {
    let mut days = Vec::new();
    let mut day = match unit {
        Unit::Month => first_of_month(today),
        Unit::Week => today - Duration::days(today.weekday().number_days_from_monday().into()),
    };
    for _ in 0..match unit {
        Unit::Month => MONTHS,
        Unit::Week => WEEKS,
    } {
        days.push(day);
        day = match unit {
            Unit::Month => first_of_month(day - Duration::DAY),
            Unit::Week => day - Duration::WEEK,
        };
    }
    days.reverse();
    days
}

/// The first day of the period behind that which begins on `day`.
fn after(unit: Unit, day: Date) -> Date {
    match unit {
        Unit::Month => first_of_month(day + Duration::days(31)),
        Unit::Week => day + Duration::WEEK,
    }
}

fn first_of_month(day: Date) -> Date {
    day.replace_day(1).unwrap_or(day)
}

/// What a period is called below a plot and in the table on the page.
pub(super) fn called(unit: Unit, day: Date) -> String {
    match unit {
        // Twelve stand side by side below a plot: the year has two digits.
        Unit::Month if day.month() == Month::January => format!("Jan ’{:02}", day.year() % 100),
        Unit::Month => short(day.month()).into(),
        Unit::Week => format!("{} {}", day.day(), short(day.month())),
    }
}

fn short(month: Month) -> &'static str {
    match month {
        Month::January => "Jan",
        Month::February => "Feb",
        Month::March => "Mar",
        Month::April => "Apr",
        Month::May => "May",
        Month::June => "Jun",
        Month::July => "Jul",
        Month::August => "Aug",
        Month::September => "Sep",
        Month::October => "Oct",
        Month::November => "Nov",
        Month::December => "Dec",
    }
}

#[cfg(test)]
mod tests {
    use time::Weekday;
    use time::macros::date;

    use super::*;

    #[test]
    fn periods_follow_each_other_to_the_present_one() {
        let months = periods(Unit::Month, date!(2026 - 03 - 31));
        assert_eq!((months.len(), months[0], months[11]), (12, date!(2025 - 04 - 01), date!(2026 - 03 - 01)));
        let weeks = periods(Unit::Week, date!(2026 - 03 - 01));
        assert_eq!((weeks.len(), weeks[52]), (53, date!(2026 - 02 - 23)));
        assert!(weeks.iter().all(|day| day.weekday() == Weekday::Monday));
        assert_eq!(after(Unit::Month, date!(2025 - 12 - 01)), date!(2026 - 01 - 01));
        assert!(months.windows(2).all(|pair| after(Unit::Month, pair[0]) == pair[1]));
        assert_eq!(called(Unit::Month, date!(2026 - 01 - 01)), "Jan ’26");
    }
}
