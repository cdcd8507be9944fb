//! Holds a picture over a range in which no other begins, as a player does with slides.
//!
//! Fed with a stretch whose segments are stitched. What always holds: a stretch is left alone when a
//! picture begins in its range.

use super::cut::{Place, TrackTable, ceil_ticks, from_movie, to_movie};
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
pub(super) fn hold(stretch: &mut Stretch) -> bool {
    let Some(held) = find(stretch) else { return false };
    for (position, segment) in stretch.segments.iter_mut().enumerate().skip(held.place.segment) {
        let tracks = &mut segment.index.tracks;
        if position > held.place.segment {
            // Not shown, and their decode times are taken.
            tracks.retain(|span| span.track as usize != held.track);
        } else if let Some(span) = tracks.iter_mut().find(|span| span.track as usize == held.track) {
            span.samples.truncate(held.place.sample + 1);
            if let Some(sample) = span.samples.last_mut() {
                (sample.cts_offset, sample.duration) = (held.cts_offset, held.duration);
            }
        }
    }
    true
}

fn find(stretch: &Stretch) -> Option<Held> {
    let track = video_track(&stretch.tracks)?;
    let table = TrackTable { stretch, track };
    let start = ceil_ticks(table, stretch.start_us?);
    let stop = ceil_ticks(table, stretch.stop_us?);
    if table.decodable().any(|row| (start..stop).contains(&row.pts)) {
        return None;
    }
    let shown = table.decodable().filter(|row| row.pts < start).max_by_key(|row| row.pts)?;
    let is_followed = table.rows().any(|row| row.pts >= stop);
    let end = if is_followed { stop } else { shown.end().max(sound_end(stretch, start, stop)).min(stop) };
    Some(Held {
        track,
        place: shown.place,
        cts_offset: i32::try_from(start.checked_sub(shown.dts)?).ok()?,
        duration: u32::try_from(end.checked_sub(start)?).ok().filter(|&duration| duration > 0)?,
    })
}

/// Until when sound in the range from `start` to `stop`, in ticks of the video track, proves that
/// the feed went on and sent no other picture. How long its last picture lasts is not known.
fn sound_end(stretch: &Stretch, start: i64, stop: i64) -> i64 {
    let Some(video) = video_track(&stretch.tracks) else { return start };
    let timescale = stretch.tracks[video].timescale;
    let ends = (0..stretch.tracks.len()).filter(|&track| track != video).filter_map(|track| {
        let table = TrackTable { stretch, track };
        let on_video = |ticks: i64| from_movie(to_movie(ticks, table.timescale()), timescale);
        let heard = table.rows().map(|row| (on_video(row.pts), on_video(row.end())));
        heard.filter(|&(pts, end)| pts < stop && end > start).map(|(_, end)| end).max()
    });
    ends.max().unwrap_or(start)
}
