//! The samples of a stretch, track by track, of which no more is read than is looked at.
//!
//! Made from the stored indexes. Summaries tell which segments can hold what is searched for: hours of media
//! are planned with the samples of a few seconds.

use std::cell::Cell;
use std::sync::Arc;

use mediahooks_media::sample::{SampleInfo, Ticks};

use super::{Stretch, cut::Place};
use crate::index::{IndexError, TrackSpan, TrackSummary};

/// The samples of one track in one segment: as much of its [`TrackSummary`] as decisions need, because there is one of
/// them for every segment of many hours.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// Position of the segment in its stretch.
    pub segment: usize,
    /// First sample byte, counted from the start of the segment.
    pub data_offset: u32,
    /// How many samples there are.
    pub samples: u32,
    /// Their bytes.
    pub bytes: u64,
    /// How many are sync samples.
    pub sync_samples: u32,
    /// How long the last sample lasts, now that it is known what follows, in ticks.
    pub last_duration: u32,
    /// The same as it was stored.
    stored_last_duration: u32,
    /// Composition offset of the last sample, in ticks.
    last_offset: i32,
    base_dts: i64,
    last_dts: i64,
    pts_min: i64,
    pts_max: i64,
    end_but_last: i64,
    /// The samples where they are no longer those that are stored.
    changed: Option<Arc<Vec<SampleInfo>>>,
}

impl Span {
    /// What a summary tells of the segment at position `segment`.
    fn of(segment: usize, summary: &TrackSummary) -> Self {
        Self {
            segment,
            data_offset: summary.data_offset,
            samples: summary.samples,
            bytes: summary.bytes,
            sync_samples: summary.sync_samples,
            last_duration: summary.last_duration,
            stored_last_duration: summary.last_duration,
            last_offset: summary.last_offset(),
            base_dts: summary.base_dts.0,
            last_dts: summary.last_dts(),
            pts_min: summary.pts_min(),
            pts_max: summary.pts_max(),
            end_but_last: summary.end_but_last(),
            changed: None,
        }
    }

    pub(super) fn base_dts(&self) -> i64 {
        self.base_dts
    }

    /// Decode time at which the last sample ends.
    pub(super) fn end_dts(&self) -> i64 {
        self.last_dts.saturating_add(i64::from(self.last_duration))
    }

    /// Earliest presentation time.
    pub(super) fn pts_min(&self) -> i64 {
        self.pts_min
    }

    /// Latest presentation time.
    pub(super) fn pts_max(&self) -> i64 {
        self.pts_max
    }

    /// The latest time at which a sample ends on screen.
    pub(super) fn end(&self) -> i64 {
        let last = self.last_dts.saturating_add(i64::from(self.last_offset));
        self.end_but_last.max(last.saturating_add(i64::from(self.last_duration)))
    }

    pub(super) fn has_sync(&self) -> bool {
        self.sync_samples > 0
    }

    /// Whether its samples are no longer those that are stored.
    pub(super) fn is_changed(&self) -> bool {
        self.changed.is_some()
    }

    /// Its samples, of which `stored` were stored.
    pub(super) fn settle(&self, mut stored: Vec<SampleInfo>) -> Vec<SampleInfo> {
        if let Some(changed) = &self.changed {
            return changed.to_vec();
        }
        if let Some(last) = stored.last_mut() {
            last.duration = self.last_duration;
        }
        stored
    }
}

/// The spans of a stretch.
#[derive(Debug)]
pub(super) struct Tables {
    /// By track of the run, in order.
    pub tracks: Vec<Vec<Span>>,
    /// Why samples could not be read that were looked at: what was decided without them does not count.
    damage: Cell<Option<IndexError>>,
}

impl Tables {
    /// Reads the summaries.
    pub(super) fn read(stretch: &Stretch) -> Result<Self, IndexError> {
        let expected = stretch.segments.len();
        let mut tracks: Vec<Vec<Span>> =
            stretch.tracks.iter().map(|_| Vec::with_capacity(expected)).collect();
        for (segment, stored) in stretch.segments.iter().enumerate() {
            stored.index.summaries(|summary| {
                let spans = tracks.get_mut(summary.track as usize);
                if let Some(spans) =
                    spans.filter(|spans| spans.last().is_none_or(|last| last.segment < segment))
                {
                    spans.push(Span::of(segment, &summary));
                }
            })?;
        }
        tracks.iter_mut().for_each(|spans| stitch(spans));
        Ok(Self { tracks, damage: Cell::new(None) })
    }

    /// Leaves the segments from `first` to `last`, both included.
    pub(super) fn trim(&mut self, first: usize, last: usize) {
        for spans in &mut self.tracks {
            spans.retain_mut(|span| {
                let is_kept = (first..=last).contains(&span.segment);
                span.segment = span.segment.saturating_sub(first);
                is_kept
            });
            stitch(spans);
        }
    }

    /// Passes on why samples could not be read.
    pub(super) fn check(&self) -> Result<(), IndexError> {
        self.damage.get().map_or(Ok(()), Err)
    }
}

/// A segment is stored before it is known when its tracks go on. Here it is: the last sample of
/// each track lasts until the first one in the next segment.
fn stitch(spans: &mut [Span]) {
    let mut next_dts = None;
    for span in spans.iter_mut().rev() {
        let lasts = next_dts.and_then(|next: i64| u32::try_from(next.checked_sub(span.last_dts)?).ok());
        span.last_duration = lasts.unwrap_or(span.stored_last_duration);
        next_dts = Some(span.base_dts());
    }
}

/// The samples of one track over all segments.
#[derive(Clone, Copy)]
pub(super) struct TrackTable<'a> {
    pub stretch: &'a Stretch,
    pub tables: &'a Tables,
    pub track: usize,
}

/// One line of a [`TrackTable`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub place: Place,
    pub dts: i64,
    pub pts: i64,
    pub info: SampleInfo,
}

impl Row {
    /// When it is over on screen, as far as it tells.
    pub(super) fn end(&self) -> i64 {
        self.pts.saturating_add(i64::from(self.info.duration))
    }

    /// When its decode time is over.
    pub(super) fn end_dts(&self) -> i64 {
        self.dts.saturating_add(i64::from(self.info.duration))
    }
}

impl<'a> TrackTable<'a> {
    /// Every span, in order.
    pub(super) fn spans(self) -> &'a [Span] {
        self.tables.tracks.get(self.track).map_or(&[], Vec::as_slice)
    }

    /// The spans from the segment at position `first` on.
    pub(super) fn spans_from(self, first: usize) -> &'a [Span] {
        let spans = self.spans();
        spans.get(spans.partition_point(|span| span.segment < first)..).unwrap_or_default()
    }

    /// The samples of a span.
    pub(super) fn samples(self, span: &Span) -> Vec<SampleInfo> {
        if let Some(changed) = &span.changed {
            return changed.to_vec();
        }
        let Some(segment) = self.stretch.segments.get(span.segment) else { return Vec::new() };
        match segment.index.samples(run_track(self.track)) {
            Ok(samples) => span.settle(samples),
            Err(error) => {
                self.tables.damage.set(Some(error));
                Vec::new()
            }
        }
    }

    /// The samples of a span with their times.
    pub(super) fn rows_of(self, span: &Span) -> impl Iterator<Item = Row> + use<> {
        let (segment, mut next) = (span.segment, span.base_dts());
        self.samples(span).into_iter().enumerate().map(move |(sample, info)| {
            let dts = next;
            next = next.saturating_add(i64::from(info.duration));
            let pts = dts.saturating_add(i64::from(info.cts_offset));
            Row { place: Place { segment, sample }, dts, pts, info }
        })
    }

    /// The samples of those spans that `may` have one that is searched for, from the segment at position
    /// `first` on, in decode order.
    pub(super) fn rows_where(
        self,
        first: usize,
        may: impl Fn(&Span) -> bool + 'a,
    ) -> impl Iterator<Item = Row> + 'a {
        self.spans_from(first).iter().filter(move |span| may(span)).flat_map(move |span| self.rows_of(span))
    }

    /// The line of a sample.
    pub(super) fn row_at(self, place: Place) -> Option<Row> {
        let span = self.spans_from(place.segment).first().filter(|span| span.segment == place.segment)?;
        self.rows_of(span).nth(place.sample)
    }

    /// Decode time at which the track's last sample ends.
    pub(super) fn end_dts(self) -> i64 {
        self.spans().last().map_or(0, Span::end_dts)
    }

    /// The samples of a video track that can be decoded, in decode order, as far as `may` admits their spans.
    /// Pictures that follow the first sync sample but are shown before it refer to what came before the
    /// stretch: an open group of pictures has such, and so has every CRA picture of HEVC with RASL pictures
    /// (ITU-T H.265 §3, leading picture).
    pub(super) fn decodable_where(
        self,
        first: usize,
        may: impl Fn(&Span) -> bool + 'a,
    ) -> impl Iterator<Item = Row> + 'a {
        let first_sync = self.first_sync();
        let from = first_sync.map_or(usize::MAX, |sync| first.max(sync.place.segment));
        self.rows_where(from, may)
            .filter(move |row| first_sync.is_some_and(|sync| row.place >= sync.place && row.pts >= sync.pts))
    }

    /// The first sample that decoding can begin with.
    pub(super) fn first_sync(self) -> Option<Row> {
        self.rows_where(0, Span::has_sync).find(|row| row.info.is_sync)
    }

    pub(super) fn timescale(self) -> u32 {
        self.stretch.tracks[self.track].timescale
    }
}

/// A position in the run's tracks, as indexes have it.
pub(super) fn run_track(track: usize) -> u32 {
    u32::try_from(track).unwrap_or(u32::MAX)
}

/// Puts changed samples into a span, the first of which is decoded at `base_dts`.
pub(super) fn change(span: &mut Span, base_dts: i64, samples: Vec<SampleInfo>) {
    let changed = TrackSpan { track: 0, base_dts: Ticks(base_dts), data_offset: span.data_offset, samples };
    *span = Span::of(span.segment, &TrackSummary::of(&changed));
    span.changed = Some(Arc::new(changed.samples));
}
