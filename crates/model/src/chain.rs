//! Errors for the log.

use std::error::Error;

/// An error with all its causes, on one line. A log in JSON shows an error without what caused it.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn every_cause_is_told() {
        let full = Layer("the disk is full", None);
        assert_eq!(chain(&full), "the disk is full");
        let written =
            Layer("a row was not written", Some(Box::new(Layer("cannot commit", Some(Box::new(full))))));
        assert_eq!(chain(&written), "a row was not written: cannot commit: the disk is full");
    }
}
