//! Reads the members of a JSON object one by one and collects everything that is wrong with them.
//!
//! What is not asked for is ignored: old clients send members that no longer exist. But a name that is nearly one that
//! is asked for is a slip, and is told: what it says would be missing without a word. Names match without regard to ASCII
//! case, as they do on the hosted service.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::value::FromJson;
use crate::errors::ApiError;

/// The members of a body that were not read yet, and what was wrong with the others.
pub(crate) struct Members {
    members: Map<String, Value>,
    /// Names that were asked for in vain.
    missing: Vec<String>,
    errors: BTreeMap<String, Vec<String>>,
}

impl Members {
    /// Begins reading an object.
    pub(crate) fn new(members: Map<String, Value>) -> Self {
        Self { members, missing: Vec::new(), errors: BTreeMap::new() }
    }

    /// The member as it came; null is a value.
    fn take(&mut self, name: &str) -> Option<Value> {
        if let Some(value) = self.members.remove(name) {
            return Some(value);
        }
        let key = self.members.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        let value = key.and_then(|key| self.members.remove(&key));
        if value.is_none() {
            self.missing.push(name.to_owned());
        }
        value
    }

    /// Whether a member that was not read yet is there and not null, whatever it holds.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null())
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

    /// Notes members that were not asked for and are nearly one that is missing.
    fn note_slips(&mut self) {
        let (left, missing) = (std::mem::take(&mut self.members), std::mem::take(&mut self.missing));
        for name in left.keys() {
            if let Some(meant) = missing.iter().find(|missing| is_slip(name, missing)) {
                self.error(meant, format!("There is no member {name}; write {meant}, or leave it out."));
            }
        }
    }

    /// Ends reading. `value` is absent only when a required member is, which was noted.
    ///
    /// Errors: everything noted, as one validation error.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, ApiError> {
        self.note_slips();
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(ApiError::validation(self.errors)),
        }
    }
}

/// Whether two names differ in the way of writing words together, or in one letter.
fn is_slip(name: &str, meant: &str) -> bool {
    let plain = |name: &str| name.replace(['_', '-', ' '], "").to_ascii_lowercase();
    // Longer ones are no name of ours, and comparing them takes time.
    name.len() <= 2 * meant.len() && strsim::osa_distance(&plain(name), &plain(meant)) <= 1
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(body: Value) -> Vec<String> {
        let Value::Object(members) = body else { panic!("not an object") };
        let mut body = Members::new(members);
        let _: (Option<String>, Option<String>) = (body.optional("gaps"), body.optional("targetFormat"));
        body.note_slips();
        body.errors.into_values().flatten().collect()
    }

    #[test]
    fn slips_are_told_and_what_is_unknown_is_ignored() {
        for (body, meant) in [
            (json!({"gap": "hold"}), "gaps"),
            (json!({"target_format": "mp4"}), "targetFormat"),
            (json!({"TARGET-FORMATS": "mp4"}), "targetFormat"),
            (json!({"tragetFormat": "mp4"}), "targetFormat"),
        ] {
            let told = errors(body.clone());
            assert!(told.len() == 1 && told[0].contains(&format!("write {meant},")), "{body} {told:?}");
        }
        for body in [
            json!({}),
            json!({"isClipHooks": true, "format": "mp4", "gapMode": 1}),
            json!({"gaps": "hold", "gap": 1, "Gaps": 2}),
            json!({"targetFormat": "mp4", "target_format": "hls"}),
        ] {
            assert_eq!(errors(body.clone()), Vec::<String>::new(), "{body}");
        }
    }
}
