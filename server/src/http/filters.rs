//! What templates say in one word: the fault of a field, a moment.
#![expect(missing_docs, reason = "the macro makes types of these functions and gives them no docs")]

use askama::{Result, Values};

use super::when;
use crate::clock::Timestamp;
use crate::error::FieldError;

/// Whether `field` has a fault.
#[askama::filter_fn]
pub fn has(faults: &[FieldError], _: &dyn Values, field: &str) -> Result<bool> {
    Ok(faults.iter().any(|fault| fault.field == field))
}

/// What is wrong with `field`.
#[askama::filter_fn]
pub fn of(faults: &[FieldError], _: &dyn Values, field: &str) -> Result<String> {
    Ok(faults.iter().filter(|fault| fault.field == field).map(|fault| fault.message.to_string()).collect::<Vec<_>>().join("; "))
}

/// Whether `field` has the first of the faults: its control takes the focus, so that the page opens there.
#[askama::filter_fn]
pub fn opens_at(faults: &[FieldError], _: &dyn Values, field: &str) -> Result<bool> {
    Ok(faults.first().is_some_and(|fault| fault.field == field))
}

/// A moment to the minute, UTC.
#[askama::filter_fn]
pub fn minute(at: &Timestamp, _: &dyn Values) -> Result<String> {
    Ok(when::minute(*at))
}
