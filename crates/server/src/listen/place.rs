//! The place to go on from, in a file if asked for.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::output::failure::Failure;

/// Longer texts are no cursors.
const CURSOR_CHARS_MAX: usize = 64;

/// A file with one cursor.
pub struct Place {
    path: Option<PathBuf>,
    cursor: Option<String>,
}

impl Place {
    /// Reads the file, which need not exist yet. Without a path nothing is kept.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self { path: None, cursor: None }) };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read the place in {}", path.display()));
            }
        };
        let cursor = Some(text.trim().to_owned()).filter(|cursor| !cursor.is_empty());
        if cursor.as_ref().is_some_and(|text| {
            text.len() > CURSOR_CHARS_MAX || !text.bytes().all(|byte| byte.is_ascii_digit())
        }) {
            return Err(Failure::new(format!("{} holds something else than a place", path.display()))
                .advise("name another file with --state")
                .into());
        }
        Ok(Self { path: Some(path.to_owned()), cursor })
    }

    /// Where to go on.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Keeps a place in the stead of the one before: a crash leaves either.
    pub fn keep(&mut self, cursor: &str) -> anyhow::Result<()> {
        let Some(path) = self.path.as_ref().filter(|_| self.cursor.as_deref() != Some(cursor)) else {
            return Ok(());
        };
        let write = || {
            let fresh = path.with_extension("new");
            let mut file = fs::File::create(&fresh)?;
            file.write_all(format!("{cursor}\n").as_bytes())?;
            file.sync_data()?;
            fs::rename(&fresh, path)
        };
        write().with_context(|| format!("cannot keep the place in {}", path.display()))?;
        self.cursor = Some(cursor.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("place");
        let mut place = Place::open(Some(&path)).unwrap();
        assert_eq!(place.cursor(), None);
        place.keep("12").unwrap();
        place.keep("13").unwrap();
        assert_eq!(Place::open(Some(&path)).unwrap().cursor(), Some("13"));
        fs::write(&path, "<html>").unwrap();
        assert!(Place::open(Some(&path)).is_err());
        Place::open(None).unwrap().keep("1").unwrap();
    }
}
