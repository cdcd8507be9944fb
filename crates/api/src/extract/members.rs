//! Reads the members of a JSON object one by one and collects everything that is wrong with them.
//!
//! What is not asked for is ignored: old clients send members that no longer exist. Names match
//! without regard to ASCII case, as they do on the hosted service.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::value::FromJson;
use crate::errors::ApiError;

/// The members of a body that were not read yet, and what was wrong with the others.
pub(crate) struct Members {
    members: Map<String, Value>,
    errors: BTreeMap<String, Vec<String>>,
}

impl Members {
    /// Begins reading an object.
    pub(crate) fn new(members: Map<String, Value>) -> Self {
        Self { members, errors: BTreeMap::new() }
    }

    /// The member as it came; null is a value.
    fn take(&mut self, name: &str) -> Option<Value> {
        if let Some(value) = self.members.remove(name) {
            return Some(value);
        }
        let key = self.members.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone();
        self.members.remove(&key)
    }

    /// A member that may be absent or null.
    pub(crate) fn optional<T: FromJson>(&mut self, name: &str) -> Option<T> {
        self.nullable(name).flatten()
    }

    /// A member for which null means something else than absence: `Some(None)`.
    pub(crate) fn nullable<T: FromJson>(&mut self, name: &str) -> Option<Option<T>> {
        match self.take(name)? {
            Value::Null => Some(None),
            value => match T::from_json(value) {
                Ok(value) => Some(Some(value)),
                Err(reason) => {
                    self.error(name, format!("The value is not valid for {}: {reason}.", pascal(name)));
                    None
                }
            },
        }
    }

    /// A member that has to be there. Absent only after an error was noted.
    pub(crate) fn required<T: FromJson>(&mut self, name: &str) -> Option<T> {
        let noted = self.errors.len();
        let value = self.optional(name);
        if value.is_none() && self.errors.len() == noted {
            self.error(name, format!("The {} field is required.", pascal(name)));
        }
        value
    }

    /// Checks the length of a text, in characters.
    pub(crate) fn length(&mut self, name: &str, text: Option<&str>, allowed: RangeInclusive<usize>) {
        if text.is_some_and(|text| !allowed.contains(&text.chars().count())) {
            let (min, max) = (allowed.start(), allowed.end());
            let name_shown = pascal(name);
            self.error(
                name,
                format!("The field {name_shown} must be a string with a length between {min} and {max}."),
            );
        }
    }

    /// Checks the size of a number.
    pub(crate) fn range(&mut self, name: &str, number: Option<i64>, allowed: RangeInclusive<i64>) {
        if number.is_some_and(|number| !allowed.contains(&number)) {
            self.error(name, out_of_range(name, &allowed));
        }
    }

    /// Notes that something is wrong with a member.
    pub(crate) fn error(&mut self, name: &str, message: impl Into<String>) {
        self.errors.entry(pascal(name)).or_default().push(message.into());
    }

    /// Ends reading. `value` is absent only when a required member is, which was noted.
    ///
    /// Errors: everything noted, as one validation error.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, ApiError> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(ApiError::validation(self.errors)),
        }
    }
}

/// How the hosted service words a number that does not fit.
pub(crate) fn out_of_range(name: &str, allowed: &RangeInclusive<i64>) -> String {
    format!("The field {} must be between {} and {}.", pascal(name), allowed.start(), allowed.end())
}

/// The name as validation errors of bodies show it.
pub(crate) fn pascal(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}
