//! The samples of fragments that are made when they are read: from the indexes of their segments, which take less
//! memory than the fragments' heads.

use mediahooks_media::cmaf::{FragmentSamples, SourceSpan};
use mediahooks_media::virtual_file::PieceError;

use super::super::MovieSource;
use super::super::join::Joined;
use super::kept::shifted;
use crate::index::SegmentIndex;

/// Where the tracks of a stretch are found in the file.
#[derive(Debug)]
struct StretchTracks {
    /// Number of its first segment among those of the file.
    first: usize,
    /// By track of the run.
    tracks: Vec<Option<PlacedTrack>>,
}

/// A track of a run.
#[derive(Debug, Clone, Copy)]
struct PlacedTrack {
    track: usize,
    config: usize,
    /// Added to composition offsets, in ticks.
    shift: i64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct RemadeSamples {
    stretches: Vec<StretchTracks>,
    /// The indexes of segments whose fragments are made again, one behind the other.
    indexes: Vec<u8>,
    /// Of each its number among the segments of the file, rising, and where it begins.
    places: Vec<(u32, usize)>,
}

impl RemadeSamples {
    /// Of no segment yet.
    pub(super) fn new(source: &MovieSource, joined: &Joined) -> Self {
        let mut first = 0;
        let stretches = source.stretches.iter().enumerate().map(|(number, stretch)| {
            let placed = |stored: usize| {
                let mut tracks = joined.tracks.iter().enumerate();
                tracks.find_map(|(track, of)| {
                    let mut parts = of.parts.iter();
                    let part = parts.find(|part| part.stretch == number && part.cut.track == stored)?;
                    Some(PlacedTrack { track, config: part.config, shift: part.shift })
                })
            };
            let begin = first;
            first += stretch.segments.len();
            StretchTracks { first: begin, tracks: (0..stretch.tracks.len()).map(placed).collect() }
        });
        Self { stretches: stretches.collect(), indexes: Vec::new(), places: Vec::new() }
    }

    /// Keeps the index of a segment. Its number is higher than those before.
    pub(super) fn keep(&mut self, source: u32, index: &[u8]) {
        self.places.push((source, self.indexes.len()));
        self.indexes.extend_from_slice(index);
    }

    /// Gives back the room that nothing came for.
    pub(super) fn shrink(&mut self) {
        self.indexes.shrink_to_fit();
        self.places.shrink_to_fit();
    }

    fn index(&self, source: u32) -> Option<&[u8]> {
        let at = self.places.binary_search_by_key(&source, |(source, _)| *source).ok()?;
        let (_, begin) = self.places.get(at)?;
        let end = self.places.get(at + 1).map_or(self.indexes.len(), |(_, next)| *next);
        self.indexes.get(*begin..end)
    }

    /// Of the segment with this number, where each track of its run is found.
    fn tracks(&self, source: u32) -> &[Option<PlacedTrack>] {
        let after = self.stretches.partition_point(|stretch| stretch.first <= source as usize);
        let stretch = after.checked_sub(1).and_then(|number| self.stretches.get(number));
        stretch.map_or(&[], |stretch| &stretch.tracks)
    }
}

impl FragmentSamples for RemadeSamples {
    fn read(&self, source: u32) -> Result<Vec<SourceSpan>, PieceError> {
        let unknown = || PieceError { reason: format!("segment {source} of the file is not kept") };
        let index = SegmentIndex::decode(self.index(source).ok_or_else(unknown)?)
            .map_err(|error| PieceError { reason: error.to_string() })?;
        let tracks = self.tracks(source);
        let spans = index.tracks.iter().filter_map(|stored| {
            let PlacedTrack { track, config, shift } = (*tracks.get(stored.track as usize)?)?;
            let samples = stored.samples.iter().map(|sample| shifted(sample, shift)).collect();
            Some(SourceSpan { track, config, offset: u64::from(stored.data_offset), samples })
        });
        Ok(spans.collect())
    }

    fn weight(&self) -> usize {
        self.indexes.capacity() + self.places.capacity() * size_of::<(u32, usize)>()
    }
}
