//! How long applications take, for everybody to read, and so that nobody is found in it: no number stands for fewer than [`FEWEST`] people's
//! applications, and none can be computed from others.
//!
//! * A month is shown when it is over, so that two looks at the page differ by whole months alone.
//! * There are no sums over months or models: taken from one, the months that are shown would tell those that are not.
//! * Of two parts of a number both are shown or neither, because either is the rest of the other.
//! * Reasons are counted per quarter, out of the months whose declines are shown; the rare ones are told together, and with them the least
//!   frequent of the others where there would be fewer than [`FEWEST`] together.

use time::Date;

use super::decline::DeclineReason;
use super::statistics::Decided;

/// Fewer than this are never counted out.
pub const FEWEST: i64 = 5;

/// A month of which something is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Decisions.
    pub decided: i64,
    /// Of these approved and declined, where both are enough.
    pub outcomes: Option<(i64, i64)>,
    /// How many by the day that was promised.
    pub in_time: Share,
    /// Half of them within this time, in seconds.
    pub median_s: f64,
    /// Nine of ten within this time, in seconds.
    pub most_s: f64,
}

/// A part of a whole, as far as it may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many of a hundred.
    Percent(i64),
    /// The others are too few to be told: so many of a hundred, or more.
    AtLeast(i64),
    /// They are too few to be told: so many of a hundred, or fewer.
    AtMost(i64),
    /// Neither can be told.
    Untold,
}

impl Share {
    fn of(part: i64, whole: i64) -> Self {
        let (few, percent) = (FEWEST - 1, |count: i64| count * 100);
        if whole < FEWEST + few {
            // Of so few, whether the part or the rest has enough tells more of it than that it is few.
            return Share::Untold;
        }
        match (part < FEWEST, whole - part < FEWEST) {
            (true, true) => Share::Untold,
            (true, false) => Share::AtMost((percent(few) + whole - 1) / whole),
            (false, true) => Share::AtLeast(percent(whole - few) / whole),
            (false, false) => Share::Percent((percent(part) + whole / 2) / whole),
        }
    }

    /// In words.
    pub fn told(self) -> String {
        match self {
            Share::Percent(percent) => format!("{percent} %"),
            Share::AtLeast(percent) => format!("at least {percent} %"),
            Share::AtMost(percent) => format!("at most {percent} %"),
            Share::Untold => "not told".into(),
        }
    }
}

/// What is shown of a month; nothing when there were too few decisions.
pub fn shown(month: &Decided) -> Option<Shown> {
    if month.decided < FEWEST {
        return None;
    }
    let declined = month.decided - month.approved;
    Some(Shown {
        decided: month.decided,
        outcomes: (month.approved >= FEWEST && declined >= FEWEST).then_some((month.approved, declined)),
        in_time: Share::of(month.in_time, month.decided),
        median_s: month.median_s,
        most_s: month.most_s,
    })
}

/// Reasons for declines, as far as they may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasons {
    /// Each of these, the most frequent first.
    pub listed: Vec<(DeclineReason, i64)>,
    /// All that are not listed, together.
    pub others: Option<i64>,
}

/// What is shown of these counts; nothing when they are too few together.
pub fn reasons(counts: impl IntoIterator<Item = (DeclineReason, i64)>) -> Option<Reasons> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(reason, count)| (-count, reason.as_str()));
    let (mut listed, few): (Vec<_>, Vec<_>) = counts.into_iter().partition(|(_, count)| *count >= FEWEST);
    let mut others: i64 = few.iter().map(|(_, count)| count).sum();
    // Reasons that did not occur are among the others, too: that one did not is a number under five.
    let is_whole = few.is_empty() && listed.len() == DeclineReason::ALL.len();
    while !is_whole && others < FEWEST {
        let (_, count) = listed.pop()?;
        others += count;
    }
    Some(Reasons { listed, others: (!is_whole).then_some(others) })
}

/// The first day of the quarter of a day.
pub fn quarter(day: Date) -> Date {
    let first = (u8::from(day.month()) - 1) / 3 * 3 + 1;
    let month = time::Month::try_from(first).unwrap_or(day.month());
    Date::from_calendar_date(day.year(), month, 1).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::date;

    use super::*;
    use crate::ids::ModelId;

    fn month(decided: i64, approved: i64, in_time: i64) -> Decided {
        let model = ModelId::fresh();
        Decided { model, month: date!(2026 - 01 - 01), decided, approved, in_time, median_s: 1.0, most_s: 2.0 }
    }

    #[test]
    fn too_few_are_not_told_and_neither_is_their_complement() {
        assert_eq!(shown(&month(4, 2, 4)), None);
        let told = |decided, approved, in_time| shown(&month(decided, approved, in_time)).expect("enough");
        assert_eq!(told(20, 12, 10).outcomes, Some((12, 8)));
        assert_eq!(told(20, 16, 10).outcomes, None, "4 declined");
        assert_eq!(told(20, 20, 10).outcomes, None, "none declined");
        assert_eq!(told(20, 12, 10).in_time, Share::Percent(50));
        assert_eq!(told(20, 12, 20).in_time, Share::AtLeast(80));
        assert_eq!(told(20, 12, 17).in_time, Share::AtLeast(80), "alike, however many of the few it were");
        assert_eq!(told(20, 12, 0).in_time, Share::AtMost(20));
        assert_eq!(told(6, 3, 3).in_time, Share::Untold);
    }

    #[test]
    fn rare_reasons_are_told_together() {
        use DeclineReason::{CommercialUse, Duplicate, Other, PurposeUnclear};
        let told = reasons([(CommercialUse, 20), (PurposeUnclear, 7), (Other, 2)]).expect("enough");
        assert_eq!((told.listed, told.others), (vec![(CommercialUse, 20)], Some(9)), "7 and 2 go together, or 2 would be the rest");
        let told = reasons([(CommercialUse, 20), (Duplicate, 3), (Other, 2)]).expect("enough");
        assert_eq!((told.listed, told.others), (vec![(CommercialUse, 20)], Some(5)));
        assert_eq!(reasons([(CommercialUse, 4)]), None);
        assert_eq!(quarter(date!(2026 - 12 - 31)), date!(2026 - 10 - 01));
    }

    #[test]
    fn no_share_tells_a_part_under_five() {
        for whole in FEWEST..60 {
            let shares: Vec<_> = (0..=whole).map(|part| Share::of(part, whole)).collect();
            for part in (0..=whole).filter(|part| *part < FEWEST || whole - part < FEWEST) {
                let alike = shares.iter().filter(|share| **share == shares[part as usize]).count();
                assert!(alike >= FEWEST as usize, "{part} of {whole} is one of {alike}");
            }
        }
    }

    proptest! {
        /// Whoever knows the rules and the page cannot tell a number under five: for each that is not listed, several would give the same page.
        #[test]
        fn what_is_not_listed_cannot_be_computed(counts in proptest::collection::vec(0i64..15, 8)) {
            let counts: Vec<_> = DeclineReason::ALL.into_iter().zip(counts).collect();
            let total: i64 = counts.iter().map(|(_, count)| count).sum();
            match reasons(counts) {
                None => prop_assert!(total < FEWEST),
                Some(told) => {
                    prop_assert!(told.listed.iter().all(|(_, count)| *count >= FEWEST));
                    let unlisted = DeclineReason::ALL.len() - told.listed.len();
                    match told.others {
                        None => prop_assert_eq!(unlisted, 0),
                        Some(others) => prop_assert!(others >= FEWEST && unlisted >= 2),
                    }
                    prop_assert_eq!(told.listed.iter().map(|(_, count)| count).sum::<i64>() + told.others.unwrap_or(0), total);
                }
            }
        }
    }
}
