//! A JSON body, field by field: `null` counts as absent, every fault is told by its field, and what nobody asked for is remembered.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::error::{Error, FieldError};

/// The fields of a body that have not been read yet, and the faults found so far.
pub(super) struct Fields {
    rest: Map<String, Value>,
    faults: Vec<FieldError>,
}

impl Fields {
    /// Reads a body. Errors: `Invalid` if it is no JSON object.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Error> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(rest)) => Ok(Self { rest, faults: Vec::new() }),
            Ok(_) => Err(FieldError::new("body", "is a JSON object, such as {\"model\": \"org/name\", \"prompt\": \"Once\"}").into()),
            Err(cause) => Err(FieldError::new("body", format!("is not JSON: {cause}")).into()),
        }
    }

    /// The value of a field, taken out; nothing if absent or `null`.
    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.rest.remove(field).filter(|value| !value.is_null())
    }

    /// Notes a fault.
    pub(super) fn fault(&mut self, field: &'static str, message: impl Into<Cow<'static, str>>) {
        self.faults.push(FieldError::new(field, message));
    }

    /// A text.
    pub(super) fn text(&mut self, field: &'static str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text),
            _ => self.wrong(field, "is a text"),
        }
    }

    /// A whole number; `8.0` is one.
    pub(super) fn whole(&mut self, field: &'static str) -> Option<i64> {
        let value = self.take(field)?;
        let exact = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15).map(|number| number as i64);
        value.as_i64().or(exact).or_else(|| self.wrong(field, "is a whole number"))
    }

    /// A number.
    pub(super) fn number(&mut self, field: &'static str) -> Option<f64> {
        let value = self.take(field)?;
        value.as_f64().or_else(|| self.wrong(field, "is a number"))
    }

    /// True or false; false if absent.
    pub(super) fn flag(&mut self, field: &'static str) -> bool {
        match self.take(field) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(_) => self.wrong(field, "is true or false").unwrap_or_default(),
        }
    }

    /// Ends the reading: the faults, or the names of the fields nobody asked for, in order.
    pub(super) fn finish(self) -> Result<Vec<String>, Error> {
        if !self.faults.is_empty() {
            return Err(Error::Invalid(self.faults));
        }
        let mut rest: Vec<String> = self.rest.into_iter().map(|(field, _)| field).collect();
        rest.sort_unstable();
        Ok(rest)
    }

    fn wrong<T>(&mut self, field: &'static str, message: &'static str) -> Option<T> {
        self.fault(field, message);
        None
    }
}
