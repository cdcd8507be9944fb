//! Holds a picture over a range in which no other begins, as a player does with slides.
//!
//! Fed with a stretch whose segments are stitched. What always holds: a stretch is left alone when a
//! picture begins in its range.

use super::cut::{Place, ceil_ticks, from_movie, to_movie, within};
use super::table::{self, Tables, TrackTable};
use super::{Stretch, video_track};

/// A picture to be held, and how long.
struct Held {
    track: usize,
    place: Place,
    cts_offset: i32,
    duration: u32,
}

/// When no picture begins in the range, moves the one that is on screen there to the range's start
/// and lets it last to the range's end. Tells whether there was such a picture.
///
/// It is moved because FFmpeg drops a picture that begins before its edit, however long it lasts.
pub(super) fn hold(stretch: &Stretch, tables: &mut Tables) -> bool {
    let Some(held) = find(stretch, tables) else { return false };
    let track = TrackTable { stretch, tables, track: held.track };
    let position = track.spans().partition_point(|span| span.segment < held.place.segment);
    let Some(mut samples) = track.spans().get(position).map(|span| track.samples(span)) else { return false };
    samples.truncate(held.place.sample + 1);
    if let Some(sample) = samples.last_mut() {
        (sample.cts_offset, sample.duration) = (held.cts_offset, held.duration);
    }
    if let Some(spans) = tables.tracks.get_mut(held.track) {
        // What follows is not shown, and its decode times are taken.
        spans.truncate(position + 1);
        if let Some(span) = spans.last_mut() {
            table::change(span, samples);
        }
    }
    true
}

fn find(stretch: &Stretch, tables: &Tables) -> Option<Held> {
    let track = video_track(&stretch.tracks)?;
    let table = TrackTable { stretch, tables, track };
    let start = ceil_ticks(table, stretch.start_us?);
    let stop = ceil_ticks(table, stretch.stop_us?);
    if table.decodable_where(0, within(start, stop)).any(|row| (start..stop).contains(&row.pts)) {
        return None;
    }
    let before = table.decodable_where(0, move |span| span.pts_min() < start);
    let shown = before.filter(|row| row.pts < start).max_by_key(|row| row.pts)?;
    let is_followed = table.spans().iter().any(|span| span.pts_max() >= stop);
    let sound_end = || sound_end(stretch, tables, start, stop);
    let end = if is_followed { stop } else { shown.end().max(sound_end()).min(stop) };
    Some(Held {
        track,
        place: shown.place,
        cts_offset: i32::try_from(start.checked_sub(shown.dts)?).ok()?,
        duration: u32::try_from(end.checked_sub(start)?).ok().filter(|&duration| duration > 0)?,
    })
}

/// Until when sound in the range from `start` to `stop`, in ticks of the video track, proves that
/// the feed went on and sent no other picture. How long its last picture lasts is not known.
fn sound_end(stretch: &Stretch, tables: &Tables, start: i64, stop: i64) -> i64 {
    let Some(video) = video_track(&stretch.tracks) else { return start };
    let timescale = stretch.tracks[video].timescale;
    let ends = (0..stretch.tracks.len()).filter(|&track| track != video).filter_map(|track| {
        let table = TrackTable { stretch, tables, track };
        let on_video = |ticks: i64| from_movie(to_movie(ticks, table.timescale()), timescale);
        let heard = table
            .spans()
            .iter()
            .filter(|span| on_video(span.pts_min()) < stop && on_video(span.end()) > start);
        let end = heard.map(|span| {
            if on_video(span.pts_max()) < stop {
                return on_video(span.end());
            }
            let heard = table.rows_of(span).filter(|row| on_video(row.pts) < stop);
            heard.map(|row| on_video(row.end())).filter(|end| *end > start).max().unwrap_or(start)
        });
        end.max()
    });
    ends.max().unwrap_or(start)
}
