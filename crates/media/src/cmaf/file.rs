//! A fragmented MP4 by reference: `ftyp`, `moov` and `sidx`, then one fragment per stored segment.
//!
//! Made by [`super::FragmentedBuilder`]. Of a segment that stays as it is, only its number and its decode times are
//! replaced while it is read, a few bytes at known places: the file keeps some 80 bytes of it, however many samples it
//! has.

use std::ops::Range;

use bytes::Bytes;

use super::builder::TrackInFragments;
use super::fragment::SEQUENCE_NUMBER;
use super::remade::{FragmentSamples, Latest, Remade};
use crate::virtual_file::{Extent, PIECE_MAX, Piece, PieceError, Pieces, VirtualFile};

/// A fragmented MP4. See the module.
#[derive(Debug)]
pub struct FragmentedMp4<S> {
    parts: FragmentedParts,
    samples: S,
    /// For each item, the offset in this file at which it begins.
    starts: Vec<u64>,
    len: u64,
    latest: Latest,
}

/// What a file is put together of.
#[derive(Debug)]
pub(super) struct FragmentedParts {
    /// `ftyp`, `moov` and `sidx`.
    pub(super) header: Bytes,
    /// Bytes of it without `sidx`.
    pub(super) init_len: u64,
    pub(super) tracks: Vec<TrackInFragments>,
    /// What follows the header, in file order.
    pub(super) items: Vec<Body>,
    /// The first of them that is a fragment.
    pub(super) fragments_from: usize,
}

impl<S> FragmentedMp4<S> {
    /// Fragments that are made again get their samples from `samples`.
    pub(super) fn new(parts: FragmentedParts, samples: S) -> Self {
        let mut len = parts.header.len() as u64;
        let starts = parts.items.iter().map(|item| {
            let start = len;
            len += item.len();
            start
        });
        let starts = starts.collect();
        Self { parts, samples, starts, len, latest: Latest::default() }
    }

    /// Bytes of `ftyp` and `moov`, with which the file begins.
    pub fn init_len(&self) -> u64 {
        self.parts.init_len
    }

    /// Where each fragment lies, in file order.
    pub fn fragments(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let places = self.starts.iter().zip(&self.parts.items).skip(self.parts.fragments_from);
        places.map(|(start, item)| *start..*start + item.len())
    }
}

impl<S: FragmentSamples> VirtualFile for FragmentedMp4<S> {
    fn len(&self) -> u64 {
        self.len
    }

    fn piece(&self, range: Range<u64>) -> Result<Piece, PieceError> {
        let wanted = range.end.saturating_sub(range.start);
        let nothing = || PieceError { reason: "the file ends before it".to_owned() };
        let header = &self.parts.header;
        if let Ok(at) = usize::try_from(range.start)
            && at < header.len()
        {
            let end = at + usize::try_from(wanted).unwrap_or(PIECE_MAX).min(PIECE_MAX);
            return Ok(Piece::Bytes(header.slice(at..end.min(header.len()))));
        }
        // The item that holds the first byte is the last one that begins at or before it.
        let number = self.starts.partition_point(|start| *start <= range.start).checked_sub(1);
        let number = number.ok_or_else(nothing)?;
        let (Some(item), Some(start)) = (self.parts.items.get(number), self.starts.get(number)) else {
            return Err(nothing());
        };
        let at = range.start - start;
        let range = at..at.saturating_add(wanted);
        match item {
            Body::Stored(stored) => stored.piece(at, wanted).ok_or_else(nothing),
            Body::Made(pieces) => pieces.piece(range),
            Body::Remade(remade) => {
                self.latest.get(number, || remade.make(&self.parts.tracks, &self.samples))?.piece(range)
            }
        }
    }

    fn weight(&self) -> usize {
        let FragmentedParts { header, items, .. } = &self.parts;
        let made = items.iter().map(|item| match item {
            Body::Stored(_) | Body::Remade(_) => 0,
            Body::Made(pieces) => pieces.weight(),
        });
        let items = items.len() * (size_of::<Body>() + size_of::<u64>());
        header.len() + items + made.sum::<usize>() + self.samples.weight()
    }
}

/// What follows the header of a file.
#[derive(Debug)]
pub(super) enum Body {
    Stored(StoredFragment),
    Remade(Remade),
    Made(Pieces),
}

impl Body {
    fn len(&self) -> u64 {
        match self {
            Self::Stored(stored) => u64::from(stored.len),
            Self::Remade(remade) => remade.len(),
            Self::Made(pieces) => pieces.len(),
        }
    }
}

/// A stored segment with other numbers in it.
#[derive(Debug)]
pub(super) struct StoredFragment {
    pub(super) source: u32,
    pub(super) len: u32,
    pub(super) sequence: u32,
    /// Offset and value of the decode time of its first track, and of its second one.
    pub(super) first: (u32, u64),
    pub(super) second: Option<(u32, u64)>,
}

impl StoredFragment {
    /// The first bytes of the `wanted` ones at `at`; `None` past the end.
    fn piece(&self, at: u64, wanted: u64) -> Option<Piece> {
        let mut end = u64::from(self.len);
        let sequence = (SEQUENCE_NUMBER, Bytes::copy_from_slice(&self.sequence.to_be_bytes()));
        let time =
            |(place, value): (u32, u64)| (u64::from(place), Bytes::copy_from_slice(&value.to_be_bytes()));
        let replaced = [Some(sequence), Some(time(self.first)), self.second.map(time)];
        for (place, bytes) in replaced.into_iter().flatten() {
            let place_end = place + bytes.len() as u64;
            if (place..place_end).contains(&at) {
                let skipped = usize::try_from(at - place).ok()?;
                let taken = usize::try_from(wanted).unwrap_or(bytes.len()).min(bytes.len() - skipped);
                return Some(Piece::Bytes(bytes.slice(skipped..skipped + taken)));
            }
            if at < place {
                end = end.min(place);
            }
        }
        let len = end.checked_sub(at)?.min(wanted);
        (len > 0).then_some(Piece::Extent(Extent { source: self.source, offset: at, len }))
    }
}
