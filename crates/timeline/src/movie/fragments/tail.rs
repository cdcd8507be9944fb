//! What a fragmented file has at its end: among the samples that are shown, some that are only decoded for them.
//!
//! The edit list leaves those out, but FFmpeg and Chromium do not cut fragments by it. What they do not show is what
//! begins, in decode time, no later than the last sample of the fragment before: fragments may overlap. So hidden
//! samples have fragments of their own, and the decode time of the sample before them, which takes no time itself.
//! All others keep their times, and hidden ones the time at which they would be shown: after the end of the edit.

use mediahooks_media::sample::{SampleInfo, TrackKind};

use super::super::MovieSource;
use super::super::cut::Place;
use super::super::join::{Joined, JoinedTrack};
use super::super::table::{Row, Tables, TrackTable};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tail {
    begin: Option<Beginning>,
    /// From there on, in decode order; what was taken is gone from the front.
    samples: std::vec::IntoIter<TailSample>,
}

/// Where it begins.
#[derive(Debug, Clone, Copy)]
struct Beginning {
    stretch: usize,
    /// Index in the file.
    track: usize,
    /// The last sample that is decoded before the first hidden one.
    place: Place,
}

/// A sample as it is at the end of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct TailSample {
    pub(super) info: SampleInfo,
    pub(super) is_hidden: bool,
}

impl Tail {
    /// The tail of a file; one that hides nothing has none.
    pub(super) fn of(source: &MovieSource, tables: &[Tables], joined: &Joined) -> Self {
        let tracks = joined.tracks.iter().enumerate();
        let is_picture = |track: &&JoinedTrack| {
            track.configs.first().is_some_and(|config| config.kind == TrackKind::Video)
        };
        tracks
            .filter(|(_, track)| is_picture(track))
            .find_map(|(number, track)| {
                let part = track.parts.last()?;
                let (stretch, tables) = (source.stretches.get(part.stretch)?, tables.get(part.stretch)?);
                let table = TrackTable { stretch, tables, track: part.cut.track };
                let begin = |place| Beginning { stretch: part.stretch, track: number, place };
                let ends = part.cut.shown_end_pts;
                let rows = hidden_from(table, part.cut.first, part.cut.last, ends)?;
                let place = rows.first()?.place;
                Some(Self {
                    begin: Some(begin(place)),
                    samples: retime(&rows, ends, part.shift)?.into_iter(),
                })
            })
            .unwrap_or_default()
    }

    /// Whether it begins in one of the first `end` segments of a stretch.
    pub(super) fn begins_within(&self, stretch: usize, end: usize) -> bool {
        self.begin.is_some_and(|begin| begin.stretch == stretch && begin.place.segment < end)
    }

    /// Of `count` samples from `from` on: how many are before it, and what the others are. `None` where all are.
    pub(super) fn take(
        &mut self,
        (stretch, track): (usize, usize),
        from: Place,
        count: usize,
    ) -> Option<(usize, Vec<TailSample>)> {
        let begin = self.begin.filter(|begin| (begin.stretch, begin.track) == (stretch, track))?;
        if from.segment < begin.place.segment {
            return None;
        }
        let is_first = from.segment == begin.place.segment;
        let before = if is_first { begin.place.sample.saturating_sub(from.sample) } else { 0 };
        let samples: Vec<TailSample> = self.samples.by_ref().take(count.checked_sub(before)?).collect();
        (!samples.is_empty()).then_some((before, samples))
    }
}

/// The samples from the last one before the first hidden one on.
fn hidden_from(table: TrackTable<'_>, first: Place, last: Place, ends: i64) -> Option<Vec<Row>> {
    let is_held = move |row: &Row| (first..=last).contains(&row.place);
    let spans = table.spans_from(first.segment).iter().take_while(|span| span.segment <= last.segment);
    let begins = spans.clone().find(|span| {
        span.pts_max() >= ends && table.rows_of(span).any(|row| is_held(&row) && row.pts >= ends)
    })?;
    // The sample before may be in the segment before.
    let before = spans.take_while(|span| span.segment < begins.segment).last();
    let from = before.unwrap_or(begins).segment;
    let rows: Vec<Row> =
        table.rows_where(from, move |span| span.segment <= last.segment).filter(is_held).collect();
    let hidden = rows.iter().position(|row| row.pts >= ends)?;
    Some(rows.get(hidden.checked_sub(1)?..)?.to_vec())
}

/// Gives hidden samples the decode time of the one before them; `None` when that is too far from when they are shown.
fn retime(rows: &[Row], ends: i64, shift: i64) -> Option<Vec<TailSample>> {
    let mut shown_dts = rows.first()?.dts;
    let times: Vec<i64> = rows
        .iter()
        .map(|row| {
            if row.pts < ends {
                shown_dts = row.dts;
            }
            shown_dts
        })
        .collect();
    let last = rows.last()?;
    let next = times.iter().skip(1).copied().chain([last.dts.saturating_add(i64::from(last.info.duration))]);
    rows.iter()
        .zip(&times)
        .zip(next)
        .map(|((row, dts), next)| {
            let is_hidden = row.pts >= ends;
            let info = SampleInfo {
                duration: u32::try_from(next - dts).ok()?,
                cts_offset: i32::try_from(row.pts.checked_sub(*dts)?.checked_add(shift)?).ok()?,
                // Nothing can be shown from it on.
                is_sync: row.info.is_sync && !is_hidden,
                ..row.info
            };
            Some(TailSample { info, is_hidden })
        })
        .collect()
}
