//! What is known of the samples of a track in a segment without reading them.

use mediahooks_media::mp4::{ChunkSummary, Column, RunSummary};
use mediahooks_media::sample::Ticks;

use super::TrackSpan;
use mediahooks_media::varint;

/// What a file that holds all samples of a [`TrackSpan`] needs to know of them, and what tells whether a
/// search for one can pass over them. How long the last one lasts is settled only by what follows, so it is
/// kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackSummary {
    /// Position of the track in the run's list of tracks.
    pub track: u32,
    /// Decode time of the first sample, as in [`TrackSpan::base_dts`].
    pub base_dts: Ticks,
    /// First sample byte, as in [`TrackSpan::data_offset`].
    pub data_offset: u32,
    /// How many samples there are; not zero.
    pub samples: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Duration of the last one, as far as it was known, in ticks.
    pub last_duration: u32,
    /// How many are sync samples.
    pub sync_samples: u32,
    /// Decode time of the last sample after that of the first, in ticks.
    last_dts: u64,
    /// Durations of all but the last.
    durations: RunSummary,
    offsets: RunSummary,
    offset_min: i32,
    offset_max: i32,
    size_min: u32,
    size_max: u32,
    /// Earliest presentation time, in ticks after the decode time of the first sample.
    pts_min: i64,
    /// Latest presentation time, likewise.
    pts_max: i64,
    /// When the one of all but the last ends that ends last, likewise; of a single sample its presentation time.
    end_but_last: i64,
}

impl TrackSummary {
    /// The summary of samples.
    pub fn of(span: &TrackSpan) -> Self {
        let all = ChunkSummary::of(&span.samples);
        let but_last = ChunkSummary::of(span.samples.split_last().map_or(&[][..], |(_, rest)| rest));
        let mut dts = 0i64;
        let (mut pts_min, mut pts_max) = (i64::MAX, i64::MIN);
        for sample in &span.samples {
            let pts = dts.saturating_add(i64::from(sample.cts_offset));
            (pts_min, pts_max) = (pts_min.min(pts), pts_max.max(pts));
            dts = dts.saturating_add(i64::from(sample.duration));
        }
        Self {
            track: span.track,
            base_dts: span.base_dts,
            data_offset: span.data_offset,
            samples: all.samples,
            bytes: all.bytes,
            last_duration: span.samples.last().map_or(0, |last| last.duration),
            sync_samples: all.sync_samples,
            last_dts: but_last.duration,
            durations: but_last.durations,
            offsets: all.offsets,
            offset_min: all.offset_min,
            offset_max: all.offset_max,
            size_min: all.size_min,
            size_max: all.size_max,
            pts_min,
            pts_max,
            end_but_last: if but_last.samples > 0 { but_last.composition_end } else { pts_min },
        }
    }

    /// Decode time of the last sample.
    pub fn last_dts(&self) -> i64 {
        self.base_dts.0.saturating_add(i64::try_from(self.last_dts).unwrap_or(i64::MAX))
    }

    /// Earliest presentation time.
    pub fn pts_min(&self) -> i64 {
        self.base_dts.0.saturating_add(self.pts_min)
    }

    /// Latest presentation time.
    pub fn pts_max(&self) -> i64 {
        self.base_dts.0.saturating_add(self.pts_max)
    }

    /// The latest time at which a sample ends on screen.
    pub fn end(&self) -> i64 {
        self.base_dts.0.saturating_add(self.composition_end(self.last_duration))
    }

    /// The latest time at which a sample ends on screen, but for the last one in decode order; of a single sample its
    /// presentation time.
    pub fn end_but_last(&self) -> i64 {
        self.base_dts.0.saturating_add(self.end_but_last)
    }

    /// Composition offset of the last sample, in ticks.
    pub fn last_offset(&self) -> i32 {
        i32::from_be_bytes(self.offsets.last.to_be_bytes())
    }

    /// All samples as a chunk of a file, where the last one lasts for `last_duration` and all are shown `shift`
    /// ticks later; `None` where their composition offsets would be too large.
    pub fn chunk(&self, last_duration: u32, shift: i64) -> Option<ChunkSummary> {
        let shifted = |offset: i32| i32::try_from(i64::from(offset).checked_add(shift)?).ok();
        let offset = |bits: u32| {
            Some(u32::from_be_bytes(shifted(i32::from_be_bytes(bits.to_be_bytes()))?.to_be_bytes()))
        };
        let mut durations = self.durations;
        durations.push(last_duration);
        Some(ChunkSummary {
            samples: self.samples,
            bytes: self.bytes,
            duration: self.last_dts.saturating_add(u64::from(last_duration)),
            durations,
            offsets: RunSummary {
                first: offset(self.offsets.first)?,
                last: offset(self.offsets.last)?,
                ..self.offsets
            },
            offset_min: shifted(self.offset_min)?,
            offset_max: shifted(self.offset_max)?,
            sync_samples: self.sync_samples,
            size_min: self.size_min,
            size_max: self.size_max,
            composition_end: self.composition_end(last_duration).saturating_add(shift),
        })
    }

    fn composition_end(&self, last_duration: u32) -> i64 {
        let last_dts = i64::try_from(self.last_dts).unwrap_or(i64::MAX);
        let last = last_dts.saturating_add(i64::from(self.last_offset()));
        self.end_but_last.max(last.saturating_add(i64::from(last_duration)))
    }

    /// Appends the bytes to store. What follows from the rest is left out.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, u64::from(self.track));
        varint::put_signed(out, self.base_dts.0);
        varint::put(out, u64::from(self.data_offset));
        varint::put(out, u64::from(self.samples));
        varint::put(out, self.bytes);
        varint::put(out, u64::from(self.samples - self.sync_samples));
        varint::put(out, u64::from(self.size_min));
        varint::put(out, u64::from(self.size_max - self.size_min));
        varint::put(out, u64::from(self.last_duration));
        if self.samples > 1 {
            put_runs(out, &self.durations, |out, value| varint::put(out, u64::from(value)));
        }
        put_runs(out, &self.offsets, |out, value| varint::put_signed(out, signed(value)));
        if self.durations.changes > 0 {
            varint::put(out, self.last_dts);
        }
        if self.offsets.changes > 0 {
            varint::put_signed(out, i64::from(self.offset_min));
            varint::put_signed(out, i64::from(self.offset_max));
            varint::put_signed(out, self.pts_min);
            let last_dts = i64::try_from(self.last_dts).unwrap_or(i64::MAX);
            varint::put_signed(out, self.pts_max.wrapping_sub(last_dts));
            varint::put_signed(out, self.end_but_last.wrapping_sub(last_dts));
        }
    }

    /// Takes one off the front of `bytes`; `None` when it is damaged.
    pub(super) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let track = take_u32(bytes)?;
        let base_dts = Ticks(varint::take_signed(bytes)?);
        let data_offset = take_u32(bytes)?;
        let samples = take_u32(bytes).filter(|samples| *samples > 0)?;
        let size_in_all = varint::take(bytes)?;
        let sync_samples = samples.checked_sub(take_u32(bytes)?)?;
        let size_min = take_u32(bytes)?;
        let size_max = size_min.checked_add(take_u32(bytes)?)?;
        let count = u64::from(samples);
        if !(count * u64::from(size_min)..=count * u64::from(size_max)).contains(&size_in_all) {
            return None;
        }
        let last_duration = take_u32(bytes)?;
        let durations = match samples {
            1 => RunSummary::default(),
            several => take_runs(bytes, several - 1, take_u32)?,
        };
        let offsets = take_runs(bytes, samples, |bytes| {
            let offset = i32::try_from(varint::take_signed(bytes)?).ok()?;
            Some(u32::from_be_bytes(offset.to_be_bytes()))
        })?;
        let last_dts = if durations.changes > 0 {
            varint::take(bytes)?
        } else {
            u64::from(durations.first) * u64::from(samples - 1)
        };
        let last_at = i64::try_from(last_dts).ok()?;
        let mut summary = Self {
            track,
            base_dts,
            data_offset,
            samples,
            bytes: size_in_all,
            last_duration,
            sync_samples,
            last_dts,
            durations,
            offsets,
            offset_min: i32::try_from(signed(offsets.first)).ok()?,
            offset_max: i32::try_from(signed(offsets.first)).ok()?,
            size_min,
            size_max,
            pts_min: signed(offsets.first),
            pts_max: last_at.checked_add(signed(offsets.first))?,
            end_but_last: last_at.checked_add(signed(offsets.first))?,
        };
        if offsets.changes > 0 {
            summary.offset_min = i32::try_from(varint::take_signed(bytes)?).ok()?;
            summary.offset_max = i32::try_from(varint::take_signed(bytes)?).ok()?;
            summary.pts_min = varint::take_signed(bytes)?;
            summary.pts_max = varint::take_signed(bytes)?.wrapping_add(last_at);
            summary.end_but_last = varint::take_signed(bytes)?.wrapping_add(last_at);
        }
        Some(summary)
    }

    /// Whether these are the values that the samples have, as far as it tells.
    pub(super) fn agrees_with(&self, column: Column, values: &[u32]) -> bool {
        let runs = |values: &[u32]| {
            let mut runs = RunSummary::default();
            values.iter().for_each(|value| runs.push(*value));
            runs
        };
        let sum = |values: &[u32]| values.iter().map(|value| u64::from(*value)).sum::<u64>();
        let lies_within = |min: i64, max: i64, value: fn(u32) -> i64| {
            values.iter().map(|bits| value(*bits)).all(|value| (min..=max).contains(&value))
        };
        match column {
            Column::Duration => values.split_last().is_some_and(|(last, but_last)| {
                *last == self.last_duration
                    && sum(but_last) == self.last_dts
                    && runs(but_last) == self.durations
            }),
            Column::Offset => {
                runs(values) == self.offsets
                    && lies_within(self.offset_min.into(), self.offset_max.into(), signed)
            }
            Column::Size => {
                sum(values) == self.bytes
                    && lies_within(self.size_min.into(), self.size_max.into(), i64::from)
            }
            Column::Sync => sum(values) == u64::from(self.sync_samples),
        }
    }

    /// The value that all stored samples have in common, where none is stored for each.
    pub(super) fn common(&self, column: Column) -> Option<u32> {
        match column {
            Column::Duration => (self.durations.changes == 0).then_some(self.durations.first),
            Column::Offset => (self.offsets.changes == 0).then_some(self.offsets.first),
            Column::Sync => (self.sync_samples == self.samples).then_some(1),
            // Always stored: their bytes vouch for the number of samples.
            Column::Size => None,
        }
    }
}

/// A composition offset as [`Column::Offset`] has it.
fn signed(bits: u32) -> i64 {
    i64::from(i32::from_be_bytes(bits.to_be_bytes()))
}

fn put_runs(out: &mut Vec<u8>, runs: &RunSummary, put: impl Fn(&mut Vec<u8>, u32)) {
    varint::put(out, u64::from(runs.changes));
    put(out, runs.first);
    if runs.changes > 0 {
        put(out, runs.last);
        varint::put(out, u64::from(runs.tail));
    }
}

fn take_runs(
    bytes: &mut &[u8],
    samples: u32,
    value: impl Fn(&mut &[u8]) -> Option<u32>,
) -> Option<RunSummary> {
    let changes = take_u32(bytes).filter(|changes| *changes < samples)?;
    let first = value(bytes)?;
    if changes == 0 {
        return Some(RunSummary { changes, first, last: first, tail: samples });
    }
    let last = value(bytes)?;
    let tail = take_u32(bytes).filter(|tail| (1..samples).contains(tail))?;
    Some(RunSummary { changes, first, last, tail })
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    u32::try_from(varint::take(bytes)?).ok()
}
