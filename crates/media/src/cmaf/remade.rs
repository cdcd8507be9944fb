//! Fragments that are made when they are read, of samples that are kept elsewhere in fewer bytes.
//!
//! What always holds: a fragment that is made again is the one that the file was planned with, or an error.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::builder::{FragmentSpan, TrackInFragments, make};
use crate::sample::{SampleInfo, Ticks};
use crate::virtual_file::{PieceError, Pieces, VirtualFile};

/// What fragments that are made again consist of.
pub trait FragmentSamples: fmt::Debug + Send + Sync {
    /// What a segment has for the file, in the order of its bytes.
    ///
    /// Errors: [`PieceError`] where it is not known any more.
    fn read(&self, source: u32) -> Result<Vec<SourceSpan>, PieceError>;

    /// Bytes of memory that it holds.
    fn weight(&self) -> usize;
}

/// As [`FragmentSpan`], but for what the file knows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpan {
    /// Index of the track in the file.
    pub track: usize,
    /// Which of the track's configurations decodes them.
    pub config: usize,
    /// Offset of the first one's first byte in the segment.
    pub offset: u64,
    /// In decode order. How long the last one lasts does not matter.
    pub samples: Vec<SampleInfo>,
}

/// A fragment of all samples that a segment has for the file.
#[derive(Debug)]
pub(super) struct Remade {
    source: u32,
    sequence: u32,
    len: u32,
    /// Of its first span, and of the second one.
    first: PlacedSpan,
    second: Option<PlacedSpan>,
}

/// What a place in the file decides about a span.
#[derive(Debug, Clone, Copy)]
struct PlacedSpan {
    base_dts: i64,
    last_duration: u32,
    is_plain: bool,
}

impl Remade {
    /// What has to be kept of it, where each span is with whether nothing precedes its sync samples; `None` for one that
    /// is too large, or of more tracks than media has.
    pub(super) fn of(
        source: u32,
        len: u64,
        sequence: u32,
        spans: &[(FragmentSpan<'_>, bool)],
    ) -> Option<Self> {
        let placed = |(span, is_plain): &(FragmentSpan<'_>, bool)| {
            let last_duration = span.samples.last()?.duration;
            Some(PlacedSpan { base_dts: span.base_dts.0, last_duration, is_plain: *is_plain })
        };
        let (first, second) = match spans {
            [one] => (placed(one)?, None),
            [one, other] => (placed(one)?, Some(placed(other)?)),
            _ => return None,
        };
        Some(Self { source, sequence, len: u32::try_from(len).ok()?, first, second })
    }

    pub(super) fn len(&self) -> u64 {
        u64::from(self.len)
    }

    /// Makes it.
    pub(super) fn make(
        &self,
        tracks: &[TrackInFragments],
        samples: &impl FragmentSamples,
    ) -> Result<Pieces, PieceError> {
        let disagreement = || PieceError {
            reason: "the samples of a fragment are not those that the file was planned with".to_owned(),
        };
        let mut stored = samples.read(self.source)?;
        let placed: Vec<PlacedSpan> = [Some(self.first), self.second].into_iter().flatten().collect();
        if stored.len() != placed.len() {
            return Err(disagreement());
        }
        for (span, placed) in stored.iter_mut().zip(&placed) {
            span.samples.last_mut().ok_or_else(disagreement)?.duration = placed.last_duration;
        }
        let spans = stored.iter().zip(&placed).map(|(span, placed)| {
            let (track, config, offset) = (span.track, span.config, span.offset);
            let base_dts = Ticks(placed.base_dts);
            (FragmentSpan { track, config, base_dts, offset, samples: &span.samples }, placed.is_plain)
        });
        let made = make(tracks, self.sequence, self.source, &spans.collect::<Vec<_>>())
            .map_err(|error| PieceError { reason: error.to_string() })?;
        if made.len() == self.len() { Ok(made) } else { Err(disagreement()) }
    }
}

/// The fragment that was made last, which is usually read in several pieces.
#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<Option<(usize, Arc<Pieces>)>>);

impl Latest {
    /// The `number`th fragment, which `make` makes.
    pub(super) fn get(
        &self,
        number: usize,
        make: impl FnOnce() -> Result<Pieces, PieceError>,
    ) -> Result<Arc<Pieces>, PieceError> {
        // It is whole whatever happened while the lock was held.
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, pieces)) = kept.filter(|(of, _)| *of == number) {
            return Ok(pieces);
        }
        let pieces = Arc::new(make()?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, Arc::clone(&pieces)));
        Ok(pieces)
    }
}
