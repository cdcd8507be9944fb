//! The query of a request.
//!
//! Names match without regard to case and may have aliases; an array is written by repeating its
//! name or with commas, or both. What is not asked for is ignored.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use axum::extract::FromRequestParts;
use http::request::Parts;
use percent_encoding::percent_decode;

use super::members::{out_of_range, pascal};
use super::value::FromQuery;
use crate::errors::ApiError;

/// The parameters of a query, and what was wrong with those read so far.
#[derive(Debug)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    errors: BTreeMap<String, Vec<String>>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let pairs = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| Ok((decode(name)?, decode(value)?)))
            .collect::<Result<_, ApiError>>()?;
        Ok(Self { pairs, errors: BTreeMap::new() })
    }
}

fn decode(text: &str) -> Result<String, ApiError> {
    let spaced: Vec<u8> = text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced)
        .decode_utf8()
        .map(|text| text.into_owned())
        .map_err(|_| ApiError::fail("The query is not UTF-8 after percent-decoding"))
}

impl Query {
    fn values<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(|(key, _)| names.iter().any(|name| key.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value.as_str())
    }

    /// A text as it came, the empty one included. `names`: the documented name, then its aliases.
    pub(crate) fn raw(&self, names: &[&str]) -> Option<String> {
        self.values(names).next().map(str::to_owned)
    }

    /// A parameter; the empty text counts as absent.
    pub(crate) fn one<T: FromQuery>(&mut self, names: &[&'static str]) -> Option<T> {
        let text = self.raw(names).filter(|text| !text.is_empty())?;
        self.read(names, &text, T::from_query)
    }

    /// A parameter that is one of a few words.
    pub(crate) fn word<T>(&mut self, names: &[&'static str], read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.raw(names).filter(|text| !text.is_empty())?;
        self.read(names, &text, |text| read(text).ok_or_else(String::new))
    }

    /// An array of words.
    pub(crate) fn words<T>(&mut self, names: &[&'static str], read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let texts = self.list(names);
        texts
            .iter()
            .filter_map(|text| self.read(names, text, |text| read(text).ok_or_else(String::new)))
            .collect()
    }

    /// An array of texts; empty ones are left out.
    pub(crate) fn list(&self, names: &[&str]) -> Vec<String> {
        self.values(names)
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// A number with bounds and a default.
    pub(crate) fn number(
        &mut self,
        names: &[&'static str],
        allowed: RangeInclusive<i64>,
        default: i64,
    ) -> i64 {
        let number = self.one(names).unwrap_or(default);
        if !allowed.contains(&number) {
            self.error(names, out_of_range(first(names), &allowed));
        }
        number
    }

    /// A number with bounds that has to be there.
    pub(crate) fn required_number(&mut self, names: &[&'static str], allowed: RangeInclusive<i64>) -> i64 {
        if self.raw(names).is_none_or(|text| text.is_empty()) {
            let name = first(names);
            self.error(names, format!("A value for the '{name}' parameter or property was not provided."));
        }
        let default = *allowed.start();
        self.number(names, allowed, default)
    }

    fn read<T>(
        &mut self,
        names: &[&'static str],
        text: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match read(text) {
            Ok(value) => Some(value),
            Err(_) => {
                let shown: String = text.chars().take(64).collect();
                self.error(names, format!("The value '{shown}' is not valid for {}.", pascal(first(names))));
                None
            }
        }
    }

    /// Notes that something is wrong with a parameter.
    pub(crate) fn error(&mut self, names: &[&'static str], message: impl Into<String>) {
        self.errors.entry(first(names).to_owned()).or_default().push(message.into());
    }

    /// Ends reading.
    ///
    /// Errors: everything noted, as one validation error.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::validation(self.errors)) }
    }
}

fn first(names: &[&'static str]) -> &'static str {
    names.first().copied().unwrap_or_default()
}
