//! Shows at the start of a range the picture that is on screen then: slides, a camera that sends few pictures or has
//! stalled.
//!
//! Fed with a stretch whose segments are stitched. What always holds: a stretch is left alone where the first picture of
//! its range follows so soon after the start that another one before it would be a flash.

use mediahooks_media::sample::SampleInfo;

use super::cut::{BRIEF_US, Place, ceil_ticks, first_pts};
use super::table::{self, Row, Tables, TrackTable};
use super::{Stretch, video_track};

/// A picture that is moved to the start of a range.
struct Held {
    track: usize,
    /// Position of its span among those of the track.
    span: usize,
    place: Place,
    /// What becomes of it.
    info: SampleInfo,
    /// By how much it is decoded later, in ticks.
    later: u32,
    /// Whether no other one is shown in the range.
    is_only: bool,
}

/// Moves the picture that is on screen when the range begins to the range's start, from where it lasts until the next
/// one, or to the range's end. Tells whether there was such a picture.
///
/// It is moved because FFmpeg drops a picture that begins before its edit, however long it lasts.
pub(super) fn hold(stretch: &Stretch, tables: &mut Tables) -> bool {
    let Some(held) = find(stretch, tables) else { return false };
    let table = TrackTable { stretch, tables, track: held.track };
    let Some(span) = table.spans().get(held.span) else { return false };
    let (mut samples, mut base_dts) = (table.samples(span), span.base_dts());
    if held.is_only {
        samples.truncate(held.place.sample + 1);
    }
    let before = held.place.sample.checked_sub(1);
    if let Some(before) = before.and_then(|before| samples.get_mut(before)) {
        before.duration = before.duration.saturating_add(held.later);
    } else {
        base_dts = base_dts.saturating_add(i64::from(held.later));
    }
    if let Some(sample) = samples.get_mut(held.place.sample) {
        *sample = held.info;
    }
    let Some(spans) = tables.tracks.get_mut(held.track) else { return false };
    if held.is_only {
        // What follows is not shown, and its decode times are taken.
        spans.truncate(held.span + 1);
    }
    if before.is_none()
        && let Some(before) = held.span.checked_sub(1).and_then(|before| spans.get_mut(before))
    {
        before.last_duration = before.last_duration.saturating_add(held.later);
    }
    if let Some(span) = spans.get_mut(held.span) {
        table::change(span, base_dts, samples);
    }
    true
}

fn find(stretch: &Stretch, tables: &Tables) -> Option<Held> {
    let track = video_track(&stretch.tracks)?;
    let table = TrackTable { stretch, tables, track };
    let start = ceil_ticks(table, stretch.start_us?);
    let stop = stretch.stop_us.map_or(i64::MAX, |us| ceil_ticks(table, us));
    let first = first_pts(table, start, stop);
    if first.is_some_and(|first| first.saturating_sub(start) <= table.ticks(BRIEF_US)) {
        return None;
    }
    let (span, shown) = shown_at(table, start)?;
    let next_dts = first.and(next_dts(table, span, shown.place));
    // Where nothing comes between, it is decoded when it is shown: no other one lasts as long as it does.
    let dts = if next_dts.is_none_or(|next| next > start) { shown.dts.max(start) } else { shown.dts };
    let end = next_dts.unwrap_or(stop);
    Some(Held {
        track,
        span,
        place: shown.place,
        info: SampleInfo {
            duration: u32::try_from(end.checked_sub(dts)?).ok().filter(|&duration| duration > 0)?,
            cts_offset: i32::try_from(start.checked_sub(dts)?).ok()?,
            ..shown.info
        },
        later: u32::try_from(dts.checked_sub(shown.dts)?).ok()?,
        is_only: first.is_none(),
    })
}

/// The picture that is on screen just before `start`, and the position of its span.
fn shown_at(table: TrackTable<'_>, start: i64) -> Option<(usize, Row)> {
    let sync = table.first_sync()?;
    let mut shown: Option<(usize, Row)> = None;
    for (position, span) in table.spans().iter().enumerate().rev() {
        let latest = shown.map_or(i64::MIN, |(_, row)| row.pts);
        if span.pts_min() >= start || span.pts_max() <= latest {
            continue;
        }
        let can_be = |row: &Row| row.place >= sync.place && (sync.pts..start).contains(&row.pts);
        let found = table.rows_of(span).filter(can_be).max_by_key(|row| row.pts);
        shown = found.filter(|row| row.pts > latest).map(|row| (position, row)).or(shown);
    }
    shown
}

/// When the sample is decoded that follows one in the span at `position`.
fn next_dts(table: TrackTable<'_>, position: usize, place: Place) -> Option<i64> {
    let [span, after @ ..] = table.spans().get(position..)? else { return None };
    let within = table.rows_of(span).nth(place.sample + 1).map(|row| row.dts);
    within.or_else(|| after.first().map(|span| span.base_dts()))
}
