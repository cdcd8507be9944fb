//! Decides which bytes of a file a `Range` header selects. Spec: RFC 9110 section 14.2.

use std::num::NonZeroUsize;
use std::ops::Range;

use http_range_header::{SyntacticallyCorrectRange as Asked, parse_range_header_with_max_ranges};

/// Ranges in one request. With more, the header is ignored, as RFC 9110 §14.2 allows.
pub(crate) const RANGES_MAX: usize = 16;

/// What to send of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it: 200.
    Whole,
    /// One range: 206.
    One(Range<u64>),
    /// Several ranges, in the order asked for: 206, multipart.
    Several(Vec<Range<u64>>),
    /// None of the ranges begins within the file: 416.
    Unsatisfiable,
}

/// Reads a header about a file of `len` bytes.
pub(crate) fn select(header: &str, len: u64) -> Selection {
    let max = NonZeroUsize::new(RANGES_MAX).unwrap_or(NonZeroUsize::MIN);
    // A header that is malformed or asks for too much is ignored.
    let Ok(parsed) = parse_range_header_with_max_ranges(header, max) else { return Selection::Whole };
    let mut ranges: Vec<Range<u64>> =
        parsed.into_ranges().into_iter().filter_map(|asked| within(&asked, len)).collect();
    // Overlapping ranges would make a small file into a large reply (RFC 9110 §17.15).
    let bytes = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.end - range.start));
    match ranges.len() {
        0 => Selection::Unsatisfiable,
        1 => Selection::One(ranges.remove(0)),
        _ if bytes > len => Selection::Whole,
        _ => Selection::Several(ranges),
    }
}

/// The part of a range that the file has; absent when it has none of it.
fn within(asked: &Asked, len: u64) -> Option<Range<u64>> {
    let range = match *asked {
        Asked::FromStart(start) => start..len,
        Asked::FromLast(count) => len.saturating_sub(count)..len,
        Asked::Indexed(first, last) => first..last.saturating_add(1).min(len),
    };
    (range.start < range.end).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: Selection) {
        assert_eq!(select(header, 100), expected, "{header}");
    }

    #[test]
    fn examples_of_the_specification() {
        check("bytes=0-9", Selection::One(0..10));
        check("bytes=90-", Selection::One(90..100));
        check("bytes=-10", Selection::One(90..100));
        check("bytes=-1000", Selection::One(0..100));
        check("bytes=50-999", Selection::One(50..100));
        check("Bytes=0-0,-1", Selection::Several(vec![0..1, 99..100]));
        check("bytes=90-94, 0-4", Selection::Several(vec![90..95, 0..5]));
        check("bytes=0-4, 500-", Selection::One(0..5));
        check("bytes=100-", Selection::Unsatisfiable);
        check("bytes=-0", Selection::Unsatisfiable);
        check("bytes=18446744073709551615-", Selection::Unsatisfiable);
    }

    #[test]
    fn what_is_malformed_or_abusive_is_ignored() {
        for header in
            ["bytes=", "bytes=5-4", "bytes=a-b", "items=0-5", "bytes=0-5,x", "", "bytes=--1", "bytes=+1-2"]
        {
            check(header, Selection::Whole);
        }
        check("bytes=0-60,40-99", Selection::Whole);
        check(&format!("bytes={}", vec!["0-0"; RANGES_MAX + 1].join(",")), Selection::Whole);
    }
}
