//! How moments and spans of time are written on pages and in mails: always UTC, always said so.

use time::Duration;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::clock::Timestamp;
use crate::error::FieldError;

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[day padding:none] [month repr:long] [year]");
const MINUTE: &[BorrowedFormatItem<'_>] = format_description!("[day padding:none] [month repr:long] [year], [hour]:[minute] UTC");
const HUB: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const DATE_FIELD: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// `23 November 2026`
pub fn day(at: Timestamp) -> String {
    at.format(DAY).expect("a day can always be written")
}

/// `23 November 2026, 14:05 UTC`
pub fn minute(at: Timestamp) -> String {
    at.format(MINUTE).expect("a minute can always be written")
}

/// `2026-11-23T14:05:00.000Z`: the one form of a time that every client of the Hub reads.
pub fn hub(at: Timestamp) -> String {
    at.format(HUB).expect("a time can always be written")
}

/// `2026-11-23`, as date fields of forms send it and want it.
pub fn date_field(date: time::Date) -> String {
    date.format(DATE_FIELD).expect("a date can always be written")
}

/// The date that a date field sent.
pub fn parse_date_field(text: &str) -> Option<time::Date> {
    time::Date::parse(text.trim(), DATE_FIELD).ok()
}

/// What holds "until" a day holds through that day, UTC. Errors: `field` is no such day.
pub fn last_moment_of(field: &'static str, day: &str) -> Result<Timestamp, FieldError> {
    let date = parse_date_field(day).ok_or_else(|| FieldError::new(field, "enter a day, such as 2027-03-31"))?;
    Ok(date.with_time(time::Time::from_hms(23, 59, 59).expect("a time of day")).assume_utc())
}

/// The length of a wait in its largest whole unit: `3 days`, `1 hour`, `less than a minute`.
pub fn span(length: Duration) -> String {
    let counted = |count: i64, unit: &str| if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") };
    match (length.whole_days(), length.whole_hours(), length.whole_minutes()) {
        (days, _, _) if days > 0 => counted(days, "day"),
        (_, hours, _) if hours > 0 => counted(hours, "hour"),
        (_, _, minutes) if minutes > 0 => counted(minutes, "minute"),
        _ => "less than a minute".into(),
    }
}

/// What is left until something, rounded up, so that a week that was just promised is one: `7 days`, `5 hours`, `1 minute`.
pub fn left(length: Duration) -> String {
    let units = [Duration::DAY, Duration::HOUR, Duration::MINUTE].map(Duration::whole_seconds);
    let seconds = length.whole_seconds();
    let unit = units.into_iter().find(|unit| seconds > *unit).unwrap_or(1);
    span(Duration::seconds((seconds + unit - 1) / unit * unit))
}

/// How long somebody has to wait, rounded up: `40 seconds`, `7 minutes`, `4 hours`.
pub fn wait(seconds: u32) -> String {
    let counted = |count: u32, unit: &str| if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") };
    match seconds {
        0..=99 => counted(seconds, "second"),
        100..=5_999 => counted(seconds.div_ceil(60), "minute"),
        6_000.. => counted(seconds.div_ceil(3_600), "hour"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn moments_are_written_for_people_and_for_date_fields() {
        let at = datetime!(2026-02-03 04:05:59 UTC);
        assert_eq!(day(at), "3 February 2026");
        assert_eq!(minute(at), "3 February 2026, 04:05 UTC");
        assert_eq!(parse_date_field(&date_field(at.date())), Some(at.date()));
        assert_eq!(parse_date_field("2026-02-30"), None);
    }

    #[test]
    fn a_span_is_told_in_its_largest_whole_unit() {
        assert_eq!(span(Duration::hours(49)), "2 days");
        assert_eq!(span(Duration::hours(24)), "1 day");
        assert_eq!(span(Duration::minutes(119)), "1 hour");
        assert_eq!(span(Duration::seconds(59)), "less than a minute");
    }

    #[test]
    fn what_is_left_of_a_promise_is_not_less_than_was_promised() {
        assert_eq!(left(Duration::days(7) - Duration::SECOND), "7 days");
        assert_eq!(left(Duration::days(7)), "7 days");
        assert_eq!(left(Duration::hours(25)), "2 days");
        assert_eq!(left(Duration::DAY), "1 day");
        assert_eq!(left(Duration::hours(23) - Duration::SECOND), "23 hours");
        assert_eq!(left(Duration::seconds(61)), "2 minutes");
        assert_eq!(left(Duration::seconds(60)), "1 minute");
        assert_eq!(left(Duration::seconds(9)), "less than a minute");
    }

    #[test]
    fn who_waits_as_long_as_told_does_not_come_too_early() {
        assert_eq!(wait(1), "1 second");
        assert_eq!(wait(99), "99 seconds");
        assert_eq!(wait(121), "3 minutes");
        assert_eq!(wait(3_600 * 3 + 1), "4 hours");
    }
}
