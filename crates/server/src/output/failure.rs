//! An error as a person reads it: what happened, why, what to do.

use std::error::Error;

/// What went wrong, with advice.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// What happened.
    pub what: String,
    /// Why, in the words of whoever knows.
    pub why: Vec<String>,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Failure {
    /// What happened; the rest may follow.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), why: Vec::new(), advice: None }
    }

    /// Adds a reason.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why.push(why.into());
        self
    }

    /// Adds an error and all that caused it as reasons.
    #[must_use]
    pub fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            self.why.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// The lines to print for an error that ends the program.
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}\n");
    let mut said = error.to_string();
    let mut add = |label: &str, line: String| {
        // Some libraries repeat the cause in their own words.
        if !said.contains(&line) {
            text.push_str(&format!("  {label} {line}\n"));
            said.push_str(&line);
        }
    };
    let mut advice = None;
    for cause in error.chain() {
        add("why:", cause.to_string());
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            failure.why.iter().for_each(|why| add("why:", why.clone()));
            advice = advice.or(failure.advice.clone());
        }
    }
    if let Some(advice) = advice {
        add("do: ", advice);
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn every_cause_is_told_once_and_the_advice_last() {
        let refused = std::io::Error::other("connection refused");
        let failure = Failure::new("cannot reach the server").caused_by(&refused).advise("start it");
        let error = Err::<(), _>(failure).context("cannot list tokens").unwrap_err();
        assert_eq!(
            describe(&error),
            "error: cannot list tokens\n  why: cannot reach the server\n  why: connection refused\n  do:  start it\n"
        );
        let repeated =
            anyhow::Error::new(std::io::Error::other("disk full")).context("cannot write: disk full");
        assert_eq!(describe(&repeated), "error: cannot write: disk full\n");
    }
}
