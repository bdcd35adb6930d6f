//! JSON objects as they are written: their entries in order, and a name that stands there twice an error, where a map would silently keep
//! the last.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// The entries of an object, in order; each name stands there once.
pub(crate) struct Entries<V>(pub(crate) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let each = Each { what: "an object", aside: None, entries_max: usize::MAX, value: PhantomData };
        deserializer.deserialize_map(each).map(Self)
    }
}

/// Reads an object of so many entries at most.
pub(super) struct Each<V> {
    /// What is expected, for messages.
    pub(super) what: &'static str,
    /// The one entry that is passed over: texts by name, as the reference implementation of safetensors has it.
    pub(super) aside: Option<&'static str>,
    pub(super) entries_max: usize,
    pub(super) value: PhantomData<V>,
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for Each<V> {
    type Value = Vec<(String, V)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.what)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format!("`{name}` stands there twice")));
            }
            if self.aside == Some(name.as_str()) {
                map.next_value::<Option<HashMap<String, String>>>()?;
                continue;
            }
            if entries.len() == self.entries_max {
                return Err(A::Error::custom(format!("there are more than {} entries", self.entries_max)));
            }
            entries.push((name, map.next_value()?));
        }
        Ok(entries)
    }
}
