//! What a fragmented file has of the samples of one segment, and how that differs from what was stored.

use mediahooks_media::cmaf::{Access, FragmentLayout, fragment_layout};
use mediahooks_media::sample::SampleInfo;

use super::super::cut::Place;
use super::tail::TailSample;
use crate::index::SegmentIndex;

/// A segment as it was stored, as far as it has to be compared with what the file wants of it.
pub(super) struct Shape {
    pub(super) layout: FragmentLayout,
    pub(super) len: u64,
    /// Of each track that it has, in its order: position in the run, number of samples, and the last one.
    pub(super) spans: Vec<(u32, usize, SampleInfo)>,
}

impl Shape {
    /// `None` for one that is not laid out as segments are today.
    pub(super) fn of(index: &SegmentIndex) -> Option<Self> {
        let layout = fragment_layout(index.tracks.iter().map(|span| span.samples.as_slice()))?;
        let mut len = layout.head_len;
        let mut spans = Vec::with_capacity(index.tracks.len());
        for span in &index.tracks {
            if u64::from(span.data_offset) != len {
                return None;
            }
            len += span.samples.iter().map(|sample| u64::from(sample.size)).sum::<u64>();
            spans.push((span.track, span.samples.len(), *span.samples.last()?));
        }
        Some(Self { layout, len, spans })
    }
}

/// What a file has of one track of a segment.
pub(super) struct Kept {
    pub(super) track: usize,
    pub(super) config: usize,
    pub(super) base_dts: i64,
    pub(super) offset: u64,
    /// The first one of them.
    pub(super) first: Place,
    pub(super) samples: Vec<SampleInfo>,
    /// Whether they are decoded only for others.
    pub(super) is_hidden: bool,
    /// Whether that is all of it, but for composition offsets and the length of the last one.
    pub(super) is_all: bool,
    /// Whether it is as it was stored, too.
    pub(super) is_whole: bool,
    /// When the first one of them is shown, on the file's clock.
    pub(super) start_pts: i64,
    /// The same moment on the run's media clock.
    pub(super) start_run_pts: i64,
}

impl Kept {
    /// What decoding can do at its beginning.
    pub(super) fn access(&self) -> Access {
        match self.samples.first() {
            // What is shown after it, in decode order, may be shown before it.
            _ if self.is_hidden => Access::None,
            Some(first) if !first.is_sync => Access::None,
            Some(first) if self.start_pts < self.base_dts.saturating_add(i64::from(first.cts_offset)) => {
                Access::Open
            }
            _ => Access::Closed,
        }
    }

    /// When its last sample ends, in decode time.
    pub(super) fn end_dts(&self) -> i64 {
        self.base_dts.saturating_add(ticks(&self.samples))
    }

    /// Parts it, of whose samples all but the first `before` are `tail`, where shown ones and hidden ones follow
    /// each other.
    pub(super) fn parted(self, before: usize, tail: &[TailSample]) -> Vec<Self> {
        let shown = self.samples.iter().take(before);
        let shown = shown.map(|info| TailSample { info: *info, is_hidden: false });
        let samples: Vec<TailSample> = shown.chain(tail.iter().copied()).collect();
        // On the run's clock after the file's.
        let run = self.start_run_pts.saturating_sub(self.start_pts);
        let mut parts: Vec<Self> = Vec::new();
        for group in samples.chunk_by(|a, b| a.is_hidden == b.is_hidden) {
            let (base_dts, offset, first) =
                parts.last().map_or((self.base_dts, self.offset, self.first), |last| {
                    let bytes = last.samples.iter().map(|sample| u64::from(sample.size)).sum::<u64>();
                    let sample = last.first.sample + last.samples.len();
                    (last.end_dts(), last.offset + bytes, Place { sample, ..last.first })
                });
            let samples: Vec<SampleInfo> = group.iter().map(|sample| sample.info).collect();
            let start_pts = base_dts.saturating_add(earliest(&samples));
            parts.push(Self {
                base_dts,
                offset,
                first,
                is_hidden: group.iter().any(|sample| sample.is_hidden),
                is_all: false,
                is_whole: false,
                start_pts,
                start_run_pts: start_pts.saturating_add(run),
                samples,
                ..self
            });
        }
        parts
    }
}

/// How long samples last.
pub(super) fn ticks(samples: &[SampleInfo]) -> i64 {
    samples.iter().map(|sample| i64::from(sample.duration)).sum()
}

/// When the first one of some samples is shown, in ticks after the first one of them is decoded.
pub(super) fn earliest(samples: &[SampleInfo]) -> i64 {
    let shown = samples.iter().scan(0, |dts, sample| {
        let pts = *dts + i64::from(sample.cts_offset);
        *dts += i64::from(sample.duration);
        Some(pts)
    });
    shown.min().unwrap_or(0)
}

/// A sample `ticks` later in composition.
pub(super) fn shifted(sample: &SampleInfo, ticks: i64) -> SampleInfo {
    let offset = i64::from(sample.cts_offset).saturating_add(ticks);
    let offset = offset.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    SampleInfo { cts_offset: i32::try_from(offset).unwrap_or(i32::MAX), ..*sample }
}

/// Whether a sample is what it was when it was stored, but for its length by `slack` ticks.
pub(super) fn is_same(now: &SampleInfo, stored: &SampleInfo, slack: i64) -> bool {
    let longer = i64::from(now.duration) - i64::from(stored.duration);
    longer.abs() <= slack && SampleInfo { duration: stored.duration, ..*now } == *stored
}
