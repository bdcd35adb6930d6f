//! The views of the desk: which applications a reviewer wants to see, in which order.

use super::store::ViewCounts;

/// One view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Those that the reader sees to, the longest waiting first.
    Mine,
    /// Those that nobody sees to.
    Unclaimed,
    /// All that wait for a reviewer.
    All,
    /// Those whose promised day has passed, the oldest promise first.
    Overdue,
    /// Those that wait for their applicant.
    Applicant,
    /// Those decided, the latest first.
    Decided,
}

impl View {
    /// Every view, as the tabs stand.
    pub const ALL: [View; 6] = [View::All, View::Mine, View::Unclaimed, View::Overdue, View::Applicant, View::Decided];

    /// As it stands in the address.
    pub fn as_str(self) -> &'static str {
        match self {
            View::Mine => "mine",
            View::Unclaimed => "unclaimed",
            View::All => "all",
            View::Overdue => "overdue",
            View::Applicant => "applicant",
            View::Decided => "decided",
        }
    }

    /// On its tab.
    pub fn label(self) -> &'static str {
        match self {
            View::Mine => "Mine",
            View::Unclaimed => "Unclaimed",
            View::All => "All waiting",
            View::Overdue => "Overdue",
            View::Applicant => "Waiting on the applicant",
            View::Decided => "Decided",
        }
    }

    /// How many are in it, where somebody counts.
    pub(super) fn count(self, counts: &ViewCounts) -> Option<i64> {
        match self {
            View::Mine => Some(counts.mine),
            View::Unclaimed => Some(counts.unclaimed),
            View::All => Some(counts.all),
            View::Overdue => Some(counts.overdue),
            View::Applicant => Some(counts.applicant),
            View::Decided => None,
        }
    }

    /// The view of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        View::ALL.into_iter().find(|view| view.as_str() == name)
    }
}
