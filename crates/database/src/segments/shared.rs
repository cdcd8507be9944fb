//! Sample tables that are in memory already: whoever reads the same page has the same ones.
//!
//! Files of many hours keep the sample tables of all their segments, and clips of one broadcast are mostly made of the
//! same. What always holds: nothing is kept here that nobody else has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// Pages that are looked through for what nobody has any more when there are twice as many.
const PAGES_MIN: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SharedTables(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the row's id.
    pages: HashMap<i64, Weak<Tables>>,
    /// How many there were after those that nobody has were forgotten.
    kept: usize,
}

/// Not in the allocation that counts who has them: that one lives as long as it is known here.
#[derive(Debug)]
struct Tables(Vec<u8>);

/// Somebody who has them.
struct Holder(Arc<Tables>);

impl AsRef<[u8]> for Holder {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

impl SharedTables {
    /// The sample tables of a page, of which `stored` is what was read.
    pub(super) fn share(&self, page: i64, stored: &[u8]) -> Bytes {
        // What is in it is whole after every statement that touches it.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.pages.get(&page).and_then(Weak::upgrade);
        // A row's id can be that of another page by now.
        if let Some(tables) = found.filter(|tables| tables.0 == stored) {
            return Bytes::from_owner(Holder(tables));
        }
        if known.pages.len() >= 2 * known.kept.max(PAGES_MIN) {
            known.pages.retain(|_, tables| tables.strong_count() > 0);
            known.kept = known.pages.len();
        }
        let tables = Arc::new(Tables(stored.to_vec()));
        known.pages.insert(page, Arc::downgrade(&tables));
        Bytes::from_owner(Holder(tables))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_the_same_page_has_the_same_tables() {
        let shared = SharedTables::default();
        let first = shared.share(1, b"tables");
        assert_eq!(shared.share(1, b"tables").as_ptr(), first.as_ptr());
        assert_ne!(shared.share(2, b"tables").as_ptr(), first.as_ptr());
        // Another page that took over the row's id.
        assert_eq!(shared.share(1, b"others"), &b"others"[..]);
        assert_eq!(first, &b"tables"[..]);
    }

    #[test]
    fn what_nobody_has_is_forgotten() {
        let shared = SharedTables::default();
        let held: Vec<Bytes> = (0..10).map(|page| shared.share(page, b"tables")).collect();
        for page in 10..100_000 {
            shared.share(page, b"tables");
        }
        assert!(shared.0.lock().unwrap().pages.len() <= 2 * PAGES_MIN);
        assert_eq!(shared.share(0, b"tables").as_ptr(), held[0].as_ptr());
    }
}
