//! The sample table of one segment, in the compact form the database keeps.
//!
//! With it and the run's track configurations every header is built without reading media. In front is what a
//! file that holds the whole segment needs to be planned ([`TrackSummary`]); behind it, member by member, the
//! samples themselves. A sample takes about four bytes: neighbours resemble each other, so runs and
//! differences are stored.

mod columns;
mod first_layout;
mod summary;

use bytes::Bytes;
use mediahooks_media::mp4::Column;
use mediahooks_media::sample::{SampleInfo, Ticks};

use self::columns::Columns;
pub use self::summary::TrackSummary;
use mediahooks_media::varint;

/// The first byte of the encoding; raised when the layout changes.
const VERSION: u8 = 2;

/// What earlier programs wrote.
const FIRST_VERSION: u8 = 1;

/// Which samples a segment holds and where their bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentIndex {
    /// One entry per track that has samples in this segment, in the order of their bytes.
    pub tracks: Vec<TrackSpan>,
}

/// The samples of one track in one segment. Their bytes lie one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackSpan {
    /// Position of the track in the run's list of tracks.
    pub track: u32,
    /// Decode time of the first sample, in ticks of the track on the run's media clock; not negative.
    pub base_dts: Ticks,
    /// First sample byte, counted from the start of the segment.
    pub data_offset: u32,
    /// In decode order; never empty.
    pub samples: Vec<SampleInfo>,
}

/// A stored index that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Written by a version of the program that this one does not know.
    #[error("the segment index has layout {0}; this program knows {VERSION} and less: update it")]
    UnknownVersion(u8),
    /// The bytes are damaged.
    #[error("the segment index is damaged")]
    Damaged,
}

impl TrackSpan {
    /// Decode time at which the last sample ends.
    pub fn end_dts(&self) -> Ticks {
        let lasts: i64 = self.samples.iter().map(|sample| i64::from(sample.duration)).sum();
        Ticks(self.base_dts.0.saturating_add(lasts))
    }

    /// Every sample with its decode time.
    pub fn timed(&self) -> impl Iterator<Item = (Ticks, &SampleInfo)> {
        self.samples.iter().scan(self.base_dts.0, |dts, sample| {
            let this = *dts;
            *dts = dts.saturating_add(i64::from(sample.duration));
            Some((Ticks(this), sample))
        })
    }
}

impl SegmentIndex {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let samples: usize = self.tracks.iter().map(|track| track.samples.len()).sum();
        let mut out = Vec::with_capacity(64 + 5 * samples);
        out.push(VERSION);
        varint::put(&mut out, self.tracks.len() as u64);
        for track in &self.tracks {
            TrackSummary::of(track).put(&mut out);
            columns::put(&mut out, &track.samples);
        }
        out
    }

    /// Reads what [`SegmentIndex::encode`] wrote, now or in an earlier version.
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let mut tracks = Vec::new();
        for_each_track(bytes, |summary, samples| {
            let samples = samples.all(&summary)?;
            let track = summary.track;
            let span =
                TrackSpan { track, base_dts: summary.base_dts, data_offset: summary.data_offset, samples };
            if TrackSummary::of(&span) != summary {
                return Err(IndexError::Damaged);
            }
            tracks.push(span);
            Ok(())
        })?;
        Ok(Self { tracks })
    }
}

/// An index as it is stored, of which no more is read than is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIndex(pub Bytes);

impl StoredIndex {
    /// What is known of each track without reading samples.
    ///
    /// Errors: [`IndexError`].
    pub fn summaries(&self, mut each: impl FnMut(TrackSummary)) -> Result<(), IndexError> {
        for_each_track(&self.0, |summary, _| {
            each(summary);
            Ok(())
        })
    }

    /// The samples of a track, in decode order; none where it has none here.
    ///
    /// Errors: [`IndexError`].
    pub fn samples(&self, track: u32) -> Result<Vec<SampleInfo>, IndexError> {
        let mut found = None;
        for_each_track(&self.0, |summary, samples| {
            if summary.track == track && found.is_none() {
                found = Some(samples.all(&summary)?);
            }
            Ok(())
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Appends one member of every sample of a track, likewise. What it gives agrees with the summary: a file that
    /// was planned with that holds nothing else.
    ///
    /// Errors: [`IndexError`].
    pub fn column(&self, track: u32, column: Column, out: &mut Vec<u32>) -> Result<(), IndexError> {
        let mut is_found = false;
        for_each_track(&self.0, |summary, samples| {
            if summary.track == track && !std::mem::replace(&mut is_found, true) {
                samples.read(&summary, column, out)?;
            }
            Ok(())
        })
    }
}

impl From<&SegmentIndex> for StoredIndex {
    fn from(index: &SegmentIndex) -> Self {
        Self(index.encode().into())
    }
}

/// The samples of a track behind its summary.
enum Samples<'a> {
    /// All members of one sample, then those of the next.
    FirstLayout(Vec<SampleInfo>),
    Columns(Columns<'a>),
}

impl Samples<'_> {
    fn all(self, summary: &TrackSummary) -> Result<Vec<SampleInfo>, IndexError> {
        match self {
            Self::FirstLayout(samples) => Ok(samples),
            Self::Columns(columns) => columns.samples(summary),
        }
    }

    fn read(self, summary: &TrackSummary, column: Column, out: &mut Vec<u32>) -> Result<(), IndexError> {
        match self {
            Self::FirstLayout(samples) => {
                out.extend(samples.iter().map(|sample| column.of(sample)));
                Ok(())
            }
            Self::Columns(columns) => columns.read(summary, column, out),
        }
    }
}

/// Reads track by track.
fn for_each_track(
    bytes: &[u8],
    mut each: impl FnMut(TrackSummary, Samples<'_>) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let (&version, mut bytes) = bytes.split_first().ok_or(IndexError::Damaged)?;
    if version != VERSION && version != FIRST_VERSION {
        return Err(IndexError::UnknownVersion(version));
    }
    let tracks = varint::take(&mut bytes).ok_or(IndexError::Damaged)?;
    for _ in 0..tracks {
        if version == FIRST_VERSION {
            let span = first_layout::take(&mut bytes).ok_or(IndexError::Damaged)?;
            each(TrackSummary::of(&span), Samples::FirstLayout(span.samples))?;
        } else {
            let summary = TrackSummary::take(&mut bytes).ok_or(IndexError::Damaged)?;
            let columns = Columns::take(&mut bytes, &summary).ok_or(IndexError::Damaged)?;
            each(summary, Samples::Columns(columns))?;
        }
    }
    if bytes.is_empty() { Ok(()) } else { Err(IndexError::Damaged) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_sample() -> impl Strategy<Value = SampleInfo> {
        (any::<u32>(), any::<u32>(), any::<i32>(), any::<bool>()).prop_map(
            |(duration, size, cts_offset, is_sync)| SampleInfo { duration, size, cts_offset, is_sync },
        )
    }

    /// Samples as encoders make them.
    fn usual_sample() -> impl Strategy<Value = SampleInfo> {
        (1500..1503u32, 0..3u32, -1..2i32, any::<bool>()).prop_map(|(duration, size, cts_offset, is_sync)| {
            SampleInfo { duration, size, cts_offset, is_sync }
        })
    }

    fn any_span() -> impl Strategy<Value = TrackSpan> {
        let samples = prop_oneof![
            prop::collection::vec(any_sample(), 1..40),
            prop::collection::vec(usual_sample(), 1..40),
        ];
        (any::<u32>(), -1_000_000_000_000..1_000_000_000_000i64, any::<u32>(), samples).prop_map(
            |(track, base, data_offset, samples)| TrackSpan {
                track,
                base_dts: Ticks(base),
                data_offset,
                samples,
            },
        )
    }

    proptest! {
        #[test]
        fn an_index_survives_storage(tracks in prop::collection::vec(any_span(), 0..4)) {
            let index = SegmentIndex { tracks };
            prop_assert_eq!(SegmentIndex::decode(&index.encode()), Ok(index));
        }

        #[test]
        fn what_is_read_alone_is_what_is_read_whole(tracks in prop::collection::vec(any_span(), 1..4)) {
            let index = SegmentIndex { tracks };
            let layouts = [index.encode(), first_layout::encode(&index)];
            for stored in layouts.map(|bytes| StoredIndex(bytes.into())) {
                prop_assert_eq!(&SegmentIndex::decode(&stored.0).unwrap(), &index);
                let mut summaries = Vec::new();
                stored.summaries(|summary| summaries.push(summary)).unwrap();
                prop_assert_eq!(&summaries, &index.tracks.iter().map(TrackSummary::of).collect::<Vec<_>>());
                let span = &index.tracks[0];
                prop_assert_eq!(&stored.samples(span.track).unwrap(), &span.samples);
                for column in [Column::Duration, Column::Offset, Column::Size, Column::Sync] {
                    let mut values = Vec::new();
                    stored.column(span.track, column, &mut values).unwrap();
                    prop_assert_eq!(values, span.samples.iter().map(|s| column.of(s)).collect::<Vec<_>>());
                }
            }
        }

        #[test]
        fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SegmentIndex::decode(&bytes);
            for version in [FIRST_VERSION, VERSION] {
                let bytes = [&[version, 1], bytes.as_slice()].concat();
                let _ = SegmentIndex::decode(&bytes);
                let stored = StoredIndex(bytes.into());
                let _ = stored.summaries(drop);
                let _ = stored.column(0, Column::Offset, &mut Vec::new());
            }
        }

        #[test]
        fn damage_is_seen_or_changes_nothing_that_is_counted(
            tracks in prop::collection::vec(any_span(), 1..3),
            at in any::<prop::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let mut bytes = SegmentIndex { tracks }.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(index) = SegmentIndex::decode(&bytes) {
                let mut summaries = Vec::new();
                StoredIndex(bytes.into()).summaries(|summary| summaries.push(summary)).unwrap();
                prop_assert_eq!(summaries, index.tracks.iter().map(TrackSummary::of).collect::<Vec<_>>());
            }
        }
    }

    proptest! {
        #[test]
        fn a_column_that_can_be_read_is_what_the_summary_tells(
            span in any_span(),
            at in any::<prop::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let mut bytes = SegmentIndex { tracks: vec![span] }.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let stored = StoredIndex(bytes.into());
            let mut summary = None;
            if stored.summaries(|of| summary = Some(of)).is_err() {
                return Ok(());
            }
            let Some(summary) = summary else { return Ok(()) };
            let column = |column| {
                let mut values = Vec::new();
                stored.column(summary.track, column, &mut values).ok().map(|()| values)
            };
            let sum = |values: &[u32]| values.iter().map(|value| u64::from(*value)).sum::<u64>();
            let chunk = summary.chunk(summary.last_duration, 0).unwrap();
            if let Some(sizes) = column(Column::Size) {
                prop_assert_eq!(sum(&sizes), chunk.bytes);
                prop_assert!(sizes.iter().all(|size| (chunk.size_min..=chunk.size_max).contains(size)));
            }
            if let Some(durations) = column(Column::Duration) {
                prop_assert_eq!(sum(&durations), chunk.duration);
                let runs = durations.chunk_by(|a, b| a == b).count();
                prop_assert_eq!(runs, chunk.durations.changes as usize + 1);
            }
            if let Some(offsets) = column(Column::Offset) {
                let runs = offsets.chunk_by(|a, b| a == b).count();
                prop_assert_eq!(runs, chunk.offsets.changes as usize + 1);
                let bounds = i64::from(chunk.offset_min)..=i64::from(chunk.offset_max);
                prop_assert!(offsets.iter().all(|bits| bounds.contains(&i64::from(*bits as i32))));
            }
            if let Some(syncs) = column(Column::Sync) {
                prop_assert_eq!(sum(&syncs), u64::from(chunk.sync_samples));
            }
        }
    }

    #[test]
    fn a_usual_second_of_media_takes_a_few_bytes_a_sample() {
        let sample =
            |n: u32| SampleInfo { duration: 3000, size: 9000 + n * 37, cts_offset: 6000, is_sync: n == 0 };
        let track = TrackSpan {
            track: 0,
            base_dts: Ticks(900_000),
            data_offset: 500,
            samples: (0..30).map(sample).collect(),
        };
        let bytes = SegmentIndex { tracks: vec![track] }.encode();
        assert!(bytes.len() < 30 * 4, "{} bytes", bytes.len());
    }
}
