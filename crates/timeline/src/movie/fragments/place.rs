//! Where the tracks of a fragmented file begin and end on its clock.

use mediahooks_media::sample::Ticks;

use super::super::cut;
use super::super::join::{Joined, JoinedTrack};
use super::Edits;
use super::head::Head;

/// A track's place in the file.
pub(super) struct PlacedTrack {
    pub(super) track_id: u32,
    /// Decode time of its first sample, in ticks of the track.
    pub(super) base_dts: i64,
    pub(super) timescale: u32,
    /// When its edit begins, in ticks of the track on the file's clock.
    pub(super) media_time: i64,
    /// Presentation time minus composition time, likewise.
    pub(super) shift: i64,
}

/// Places every track, in the order of `joined`.
pub(super) fn place(joined: &Joined, head: &Head, edits: Edits) -> Vec<PlacedTrack> {
    let timescale = |track: &JoinedTrack| track.configs.first().map_or(1, |config| config.timescale);
    let empty = |track: &JoinedTrack| i64::try_from(track.edit.empty).unwrap_or(i64::MAX);
    // Where a track's clock begins on the movie's, without an edit list.
    let begins = |track: &JoinedTrack| {
        empty(track).saturating_sub(cut::to_movie(track.edit.media_time, timescale(track)))
    };
    let earliest = joined.tracks.iter().map(begins).min().unwrap_or(0);
    let mut ids: Vec<u32> = Vec::new();
    let tracks = joined.tracks.iter().enumerate().map(|(number, track)| {
        let stored = track.parts.first().map_or(0, |part| part.cut.track);
        let mut track_id = u32::try_from(stored).unwrap_or(0).saturating_add(1);
        while ids.contains(&track_id) {
            track_id += 1;
        }
        ids.push(track_id);
        let timescale = timescale(track);
        match edits {
            Edits::Hiding | Edits::Whole => {
                let media_time = head.media_time(number).unwrap_or(track.edit.media_time);
                let shift = cut::from_movie(empty(track), timescale).saturating_sub(media_time);
                PlacedTrack { track_id, base_dts: 0, timescale, media_time, shift }
            }
            Edits::Absent => {
                let at = cut::from_movie(empty(track).saturating_sub(earliest), timescale);
                let base_dts = at.saturating_sub(track.edit.media_time).max(0);
                let media_time = base_dts.saturating_add(track.edit.media_time);
                PlacedTrack { track_id, base_dts, timescale, media_time, shift: 0 }
            }
        }
    });
    tracks.collect()
}

/// How long the file is shown, in ticks of [`MOVIE_TIMESCALE`](mediahooks_media::mp4::MOVIE_TIMESCALE).
pub(super) fn duration(joined: &Joined, placed: &[PlacedTrack], edits: Edits) -> u64 {
    let ends = joined.tracks.iter().zip(placed).map(|(track, placed)| {
        let end = track.edit.empty.saturating_add(track.edit.duration);
        let begins = match edits {
            Edits::Hiding | Edits::Whole => 0,
            Edits::Absent => cut::to_movie(placed.media_time, placed.timescale)
                .saturating_sub(i64::try_from(track.edit.empty).unwrap_or(i64::MAX)),
        };
        end.saturating_add(u64::try_from(begins).unwrap_or(0))
    });
    ends.max().unwrap_or(0)
}

/// Of each track, when its last sample ends as players show it, in its ticks.
pub(super) fn shown_ends(joined: &Joined, placed: &[PlacedTrack], next_dts: &[i64]) -> Vec<Ticks> {
    let tracks = joined.tracks.iter().zip(placed).zip(next_dts);
    let ends = tracks.map(|((track, placed), next_dts)| {
        let media = placed.shift.saturating_add(placed.media_time);
        let duration = i64::try_from(track.edit.duration).unwrap_or(i64::MAX);
        let end = media.saturating_add(cut::from_movie(duration, placed.timescale));
        Ticks(end.max(next_dts.saturating_add(placed.shift)))
    });
    ends.collect()
}
