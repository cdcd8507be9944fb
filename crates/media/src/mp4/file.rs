//! A file that is a header and pieces of other files.

use std::ops::Range;

use bytes::Bytes;

use crate::virtual_file::{Extent, PIECE_MAX, Piece, PieceError, VirtualFile};

/// The `source` of an extent that is a piece of the header once more.
pub(super) const HEADER: u32 = u32::MAX;

/// A whole MP4 file by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualMp4 {
    /// `ftyp`, `moov` and the header of the `mdat`.
    header: Bytes,
    /// The pieces that follow the header, in file order; none is empty, and no two could be one.
    extents: Vec<Extent>,
    len: u64,
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

    fn in_header(&self, start: u64, len: u64) -> Result<Piece, PieceError> {
        let bytes = usize::try_from(start).ok().and_then(|start| {
            let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX).min(PIECE_MAX));
            (start < self.header.len()).then(|| self.header.slice(start..end.min(self.header.len())))
        });
        bytes.map(Piece::Bytes).ok_or_else(past_the_end)
    }
}

impl VirtualFile for VirtualMp4 {
    fn len(&self) -> u64 {
        self.len
    }

    fn piece(&self, range: Range<u64>) -> Result<Piece, PieceError> {
        let len = range.end.saturating_sub(range.start);
        if range.start < self.header.len() as u64 {
            return self.in_header(range.start, len);
        }
        // The extent that holds the first byte is the last one that begins at or before it.
        let position = self.starts.partition_point(|start| *start <= range.start).saturating_sub(1);
        let (Some(start), Some(extent)) = (self.starts.get(position), self.extents.get(position)) else {
            return Err(past_the_end());
        };
        let skipped = range.start - start;
        let len = len.min(extent.len.saturating_sub(skipped));
        match extent.source {
            _ if len == 0 => Err(past_the_end()),
            HEADER => self.in_header(extent.offset + skipped, len),
            source => Ok(Piece::Extent(Extent { source, offset: extent.offset + skipped, len })),
        }
    }

    fn weight(&self) -> usize {
        self.header.len() + self.extents.len() * (size_of::<Extent>() + size_of::<u64>())
    }
}

fn past_the_end() -> PieceError {
    PieceError { reason: "the range is not within the file".to_owned() }
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

    fn check(range: Range<u64>, expected: &[Piece]) {
        let (file, mut at, mut pieces) = (file(), range.start, Vec::new());
        while at < range.end {
            let piece = file.piece(at..range.end).unwrap();
            at += piece.len();
            pieces.push(piece);
        }
        assert_eq!(pieces, expected);
    }

    fn piece(source: u32, offset: u64, len: u64) -> Piece {
        Piece::Extent(Extent { source, offset, len })
    }

    fn head(bytes: &'static [u8]) -> Piece {
        Piece::Bytes(Bytes::from_static(bytes))
    }

    #[test]
    fn a_range_is_cut_out_of_header_and_extents() {
        assert_eq!(file().len(), 20);
        check(0..20, &[head(b"head"), piece(1, 100, 10), piece(2, 0, 5), piece(1, 200, 1)]);
        check(1..3, &[head(b"ea")]);
        check(3..5, &[head(b"d"), piece(1, 100, 1)]);
        check(13..15, &[piece(1, 109, 1), piece(2, 0, 1)]);
        check(14..19, &[piece(2, 0, 5)]);
        check(19..20, &[piece(1, 200, 1)]);
    }

    #[test]
    fn nothing_is_read_past_the_end_or_for_an_empty_range() {
        for range in [20..1000, u64::MAX - 1..u64::MAX, 7..7] {
            assert!(file().piece(range).is_err());
        }
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
