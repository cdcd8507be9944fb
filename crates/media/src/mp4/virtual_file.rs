//! A file that is a header and pieces of other files.

use std::{iter, ops::Range};

use bytes::Bytes;

/// The `source` of an extent that is a piece of the header once more.
pub(super) const HEADER: u32 = u32::MAX;

/// A piece of a file that exists elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The caller's number of the file, e.g. of a segment; `u32::MAX` is the header.
    pub source: u32,
    /// First byte within it.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// What to read next for a range of a [`VirtualMp4`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slice {
    /// A range of [`VirtualMp4::header`].
    Header(Range<usize>),
    /// A piece of a source.
    Extent(Extent),
}

/// A whole MP4 file by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualMp4 {
    /// `ftyp`, `moov` and the header of the `mdat`.
    pub header: Bytes,
    /// The pieces that follow the header, in file order; none is empty, and no two could be one.
    pub extents: Vec<Extent>,
    /// Bytes of the whole file.
    pub len: u64,
    /// For each extent, the offset in this file at which it begins.
    starts: Vec<u64>,
}

impl VirtualMp4 {
    pub(super) fn new(header: Bytes, extents: Vec<Extent>) -> Self {
        let mut end = header.len() as u64;
        let starts = extents
            .iter()
            .map(|extent| {
                let start = end;
                end += extent.len;
                start
            })
            .collect();
        Self { header, extents, len: end, starts }
    }

    /// What to read for the bytes in `range`, in order. What lies past the end of the file is left out.
    pub fn slices(&self, range: Range<u64>) -> impl Iterator<Item = Slice> + '_ {
        let header_len = self.header.len();
        let in_header = move |at: u64| usize::try_from(at).unwrap_or(header_len).min(header_len);
        let of_header = in_header(range.start)..in_header(range.end);
        let head = (!of_header.is_empty()).then_some(Slice::Header(of_header));
        // The extent that holds the first byte is the last one that begins at or before it.
        let first = self.starts.partition_point(|start| *start <= range.start).saturating_sub(1);
        let pieces = iter::zip(
            self.starts.get(first..).unwrap_or_default(),
            self.extents.get(first..).unwrap_or_default(),
        );
        let of_extents = pieces
            .take_while(move |(start, _)| **start < range.end)
            .filter_map(move |(start, extent)| {
                let skipped = range.start.saturating_sub(*start).min(extent.len);
                let end = (range.end - start).min(extent.len);
                (skipped < end).then(|| Extent {
                    offset: extent.offset + skipped,
                    len: end - skipped,
                    ..*extent
                })
            })
            .map(move |extent| match extent.source {
                HEADER => Slice::Header(in_header(extent.offset)..in_header(extent.offset + extent.len)),
                _ => Slice::Extent(extent),
            });
        head.into_iter().chain(of_extents)
    }
}

/// Appends a piece, joined to the last one when it continues it.
pub(super) fn push_extent(extents: &mut Vec<Extent>, next: Extent) {
    if next.len == 0 {
        return;
    }
    match extents.last_mut() {
        Some(last)
            if last.source == next.source && last.offset.checked_add(last.len) == Some(next.offset) =>
        {
            last.len += next.len;
        }
        _ => extents.push(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> VirtualMp4 {
        let extents = [(1, 100, 10), (2, 0, 5), (1, 200, 1)];
        let extents = extents.map(|(source, offset, len)| Extent { source, offset, len });
        VirtualMp4::new(Bytes::from_static(b"head"), extents.to_vec())
    }

    fn check(range: Range<u64>, expected: &[Slice]) {
        assert_eq!(file().slices(range).collect::<Vec<_>>(), expected);
    }

    fn piece(source: u32, offset: u64, len: u64) -> Slice {
        Slice::Extent(Extent { source, offset, len })
    }

    #[test]
    fn a_range_is_cut_out_of_header_and_extents() {
        assert_eq!(file().len, 20);
        check(0..20, &[Slice::Header(0..4), piece(1, 100, 10), piece(2, 0, 5), piece(1, 200, 1)]);
        check(1..3, &[Slice::Header(1..3)]);
        check(3..5, &[Slice::Header(3..4), piece(1, 100, 1)]);
        check(13..15, &[piece(1, 109, 1), piece(2, 0, 1)]);
        check(14..19, &[piece(2, 0, 5)]);
        check(19..20, &[piece(1, 200, 1)]);
    }

    #[test]
    fn nothing_is_read_past_the_end_or_for_an_empty_range() {
        check(19..1000, &[piece(1, 200, 1)]);
        check(20..1000, &[]);
        check(u64::MAX - 1..u64::MAX, &[]);
        check(7..7, &[]);
        #[expect(clippy::reversed_empty_ranges, reason = "callers may compute such a range")]
        check(9..7, &[]);
    }

    #[test]
    fn pieces_that_continue_each_other_become_one() {
        let mut extents = Vec::new();
        for (source, offset, len) in [(1, 0, 10), (1, 10, 5), (1, 16, 1), (2, 17, 1), (2, 18, 0)] {
            push_extent(&mut extents, Extent { source, offset, len });
        }
        let expected = [(1, 0, 15), (1, 16, 1), (2, 17, 1)];
        assert_eq!(extents, expected.map(|(source, offset, len)| Extent { source, offset, len }));
    }
}
