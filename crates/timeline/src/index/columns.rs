//! The samples of a track in a segment, member by member: a table of a file needs only one.

use mediahooks_media::mp4::Column;
use mediahooks_media::sample::SampleInfo;

use super::{IndexError, TrackSummary};
use mediahooks_media::varint;

/// Where the members are. Of what all samples have in common there is nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a> {
    /// Runs of (samples, difference), but for the last sample.
    durations: &'a [u8],
    /// Differences.
    offsets: &'a [u8],
    /// Bytes of each.
    sizes: &'a [u8],
    /// Samples since the last sync sample.
    syncs: &'a [u8],
}

/// Appends the members of samples.
pub(super) fn put(out: &mut Vec<u8>, samples: &[SampleInfo]) {
    let but_last = samples.split_last().map_or(&[][..], |(_, rest)| rest);
    let mut durations = Vec::new();
    if but_last.windows(2).any(|pair| pair[0].duration != pair[1].duration) {
        let mut before = 0;
        for run in but_last.chunk_by(|a, b| a.duration == b.duration) {
            let duration = run.first().map_or(0, |sample| i64::from(sample.duration));
            varint::put(&mut durations, run.len() as u64);
            varint::put_signed(&mut durations, duration - before);
            before = duration;
        }
    }
    let mut offsets = Vec::new();
    if samples.windows(2).any(|pair| pair[0].cts_offset != pair[1].cts_offset) {
        let mut before = 0;
        for sample in samples {
            varint::put_signed(&mut offsets, i64::from(sample.cts_offset) - before);
            before = i64::from(sample.cts_offset);
        }
    }
    let mut sizes = Vec::with_capacity(2 * samples.len());
    samples.iter().for_each(|sample| varint::put(&mut sizes, u64::from(sample.size)));
    let mut syncs = Vec::new();
    if samples.iter().any(|sample| !sample.is_sync) {
        let mut next = 0;
        for (position, _) in samples.iter().enumerate().filter(|(_, sample)| sample.is_sync) {
            varint::put(&mut syncs, (position - next) as u64);
            next = position + 1;
        }
    }
    let columns = [durations, offsets, sizes, syncs];
    columns.iter().for_each(|column| varint::put(out, column.len() as u64));
    columns.iter().for_each(|column| out.extend(column));
}

impl<'a> Columns<'a> {
    /// Takes the members off the front of `bytes`; `None` when they are damaged.
    pub(super) fn take(bytes: &mut &'a [u8], summary: &TrackSummary) -> Option<Self> {
        let mut len = || usize::try_from(varint::take(bytes)?).ok();
        let (durations, offsets, sizes, syncs) = (len()?, len()?, len()?, len()?);
        let mut column = |len: usize| {
            let (column, rest) = bytes.split_at_checked(len)?;
            *bytes = rest;
            Some(column)
        };
        let columns = Self {
            durations: column(durations)?,
            offsets: column(offsets)?,
            sizes: column(sizes)?,
            syncs: column(syncs)?,
        };
        // A size takes at least a byte: a number that promises more is damage, and must not make us reserve
        // memory for it.
        (summary.samples as usize <= sizes).then_some(columns)
    }

    /// Appends one member of every sample.
    pub(super) fn read(
        &self,
        summary: &TrackSummary,
        column: Column,
        out: &mut Vec<u32>,
    ) -> Result<(), IndexError> {
        let begin = out.len();
        self.put_values(summary, column, out).ok_or(IndexError::Damaged)?;
        let values = out.get(begin..).unwrap_or_default();
        let is_sound = values.len() == summary.samples as usize
            && (summary.common(column).is_some() || summary.agrees_with(column, values));
        if is_sound { Ok(()) } else { Err(IndexError::Damaged) }
    }

    fn put_values(&self, summary: &TrackSummary, column: Column, out: &mut Vec<u32>) -> Option<()> {
        let samples = summary.samples as usize;
        match (summary.common(column), column) {
            (Some(value), Column::Duration) => {
                out.extend(std::iter::repeat_n(value, samples - 1));
                out.push(summary.last_duration);
            }
            (Some(value), _) => out.extend(std::iter::repeat_n(value, samples)),
            (None, Column::Duration) => {
                put_durations(self.durations, samples - 1, out)?;
                out.push(summary.last_duration);
            }
            (None, Column::Offset) => {
                let (mut bytes, mut offset) = (self.offsets, 0i64);
                for _ in 0..samples {
                    offset = offset.checked_add(varint::take_signed(&mut bytes)?)?;
                    out.push(u32::from_be_bytes(i32::try_from(offset).ok()?.to_be_bytes()));
                }
            }
            (None, Column::Size) => {
                let mut bytes = self.sizes;
                for _ in 0..samples {
                    out.push(u32::try_from(varint::take(&mut bytes)?).ok()?);
                }
            }
            (None, Column::Sync) => put_syncs(self.syncs, summary, out)?,
        }
        Some(())
    }

    /// All members of every sample.
    pub(super) fn samples(&self, summary: &TrackSummary) -> Result<Vec<SampleInfo>, IndexError> {
        let values = |column| {
            let mut values = Vec::with_capacity(summary.samples as usize);
            self.read(summary, column, &mut values).map(|()| values)
        };
        let (durations, offsets) = (values(Column::Duration)?, values(Column::Offset)?);
        let (sizes, syncs) = (values(Column::Size)?, values(Column::Sync)?);
        let members = durations.iter().zip(&offsets).zip(&sizes).zip(&syncs);
        let sample = |(((duration, offset), size), sync): (((&u32, &u32), &u32), &u32)| SampleInfo {
            duration: *duration,
            size: *size,
            cts_offset: i32::from_be_bytes(offset.to_be_bytes()),
            is_sync: *sync == 1,
        };
        Ok(members.map(sample).collect())
    }
}

fn put_durations(mut bytes: &[u8], samples: usize, out: &mut Vec<u32>) -> Option<()> {
    let (mut left, mut duration) = (samples, 0i64);
    while left > 0 {
        let run = usize::try_from(varint::take(&mut bytes)?).ok().filter(|run| (1..=left).contains(run))?;
        duration = duration.checked_add(varint::take_signed(&mut bytes)?)?;
        out.extend(std::iter::repeat_n(u32::try_from(duration).ok()?, run));
        left -= run;
    }
    Some(())
}

fn put_syncs(mut bytes: &[u8], summary: &TrackSummary, out: &mut Vec<u32>) -> Option<()> {
    let begin = out.len();
    out.extend(std::iter::repeat_n(0, summary.samples as usize));
    let mut next = begin;
    for _ in 0..summary.sync_samples {
        let position = next.checked_add(usize::try_from(varint::take(&mut bytes)?).ok()?)?;
        *out.get_mut(position)? = 1;
        next = position + 1;
    }
    Some(())
}
