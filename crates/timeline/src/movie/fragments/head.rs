//! What a fragmented file has before its fragments: the samples that its edit list cuts through.
//!
//! They are described by the `moov`, the only place where FFmpeg and Chromium honour an edit list. Pictures that are
//! not shown take next to no time there: players that count from the first decode time show no wrong duration, and
//! those that ignore edit lists are over them at once.

use mediahooks_media::sample::{SampleInfo, TrackKind};

use super::super::join::{Joined, JoinedTrack};
use super::super::table::{Row, Tables, TrackTable};
use super::super::{MovieSource, Stretch};
use super::tail::Tail;

/// How many times shorter than the longest one a picture that is not shown is. FFmpeg warns where a packet takes
/// more than a thousand times as long as those before.
const SHORTER: u32 = 500;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The stretch that it is of.
    stretch: usize,
    /// Number of that stretch's segments that it ends with.
    end: usize,
    tracks: Vec<RetimedTrack>,
}

/// A track whose samples have other times in the head.
#[derive(Debug)]
struct RetimedTrack {
    /// Index in the file.
    track: usize,
    media_time: i64,
    /// In decode order; what was taken is gone from the front.
    samples: std::vec::IntoIter<SampleInfo>,
}

impl Head {
    /// The head of a file: its first segment, and those that are decoded before its first picture is shown. Where that
    /// reaches into the `tail` it is all of the stretch: what the `moov` describes is cut at its end as well.
    pub(super) fn of(source: &MovieSource, tables: &[Tables], joined: &Joined, tail: &Tail) -> Self {
        let number = joined.pieces.first().map_or(0, |piece| piece.stretch);
        let (Some(stretch), Some(tables)) = (source.stretches.get(number), tables.get(number)) else {
            return Self::default();
        };
        let mut end = joined.pieces.first().map_or(0, |piece| piece.segments.0 + 1);
        for track in &joined.tracks {
            let Some(part) = track.parts.iter().find(|part| part.stretch == number) else { continue };
            let hidden = held(stretch, tables, track).take_while(|row| row.dts < part.cut.shown_start_pts);
            end = end.max(hidden.last().map_or(0, |row| row.place.segment + 1));
        }
        if tail.begins_within(number, end) {
            end = stretch.segments.len();
        }
        let tracks = joined.tracks.iter().enumerate().filter_map(|(index, track)| {
            let is_picture = track.configs.first().is_some_and(|config| config.kind == TrackKind::Video);
            let is_first = track.parts.first().is_some_and(|part| part.stretch == number);
            (is_picture && is_first)
                .then(|| retime(held(stretch, tables, track), index, track, end))
                .flatten()
        });
        Self { stretch: number, end, tracks: tracks.collect() }
    }

    /// Whether a segment belongs to it.
    pub(super) fn holds(&self, stretch: usize, position: usize) -> bool {
        stretch == self.stretch && position < self.end
    }

    /// When the edit of a track begins, where that is not as in other files.
    pub(super) fn media_time(&self, track: usize) -> Option<i64> {
        self.tracks.iter().find(|retimed| retimed.track == track).map(|retimed| retimed.media_time)
    }

    /// The next `count` samples of a track, if they have other times here.
    pub(super) fn take(&mut self, track: usize, count: usize) -> Option<Vec<SampleInfo>> {
        let retimed = self.tracks.iter_mut().find(|retimed| retimed.track == track)?;
        Some(retimed.samples.by_ref().take(count).collect())
    }
}

/// The samples that a file has of a track's first part.
fn held<'a>(
    stretch: &'a Stretch,
    tables: &'a Tables,
    track: &JoinedTrack,
) -> impl Iterator<Item = Row> + use<'a> {
    let cut = track.parts.first().map(|part| part.cut);
    cut.into_iter().flat_map(move |cut| {
        let rows = TrackTable { stretch, tables, track: cut.track }.rows_where(cut.first.segment, |_| true);
        rows.filter(move |row| (cut.first..=cut.last).contains(&row.place))
    })
}

fn retime(
    held: impl Iterator<Item = Row>,
    index: usize,
    track: &JoinedTrack,
    end: usize,
) -> Option<RetimedTrack> {
    let part = track.parts.first()?;
    // Where the edit begins on the run's media clock.
    let shown = track.edit.media_time.saturating_add(part.cut.first_dts).saturating_sub(part.shift);
    let rows: Vec<Row> = held.take_while(|row| row.place.segment < end).collect();
    let longest = rows.iter().map(|row| row.info.duration).max()?;
    let step = i64::from(longest / SHORTER + 1);
    // Any number of pictures can be decoded before the first one is shown. It is delayed as the others are, because
    // FFmpeg takes this for the delay of all of them when it seeks.
    let delay = rows.first().map(|row| row.pts.saturating_sub(row.dts).max(0))?;
    let hidden = i64::try_from(rows.len()).ok()?.saturating_mul(step);
    let media_time = hidden.saturating_add(delay);
    let on_file = |ticks: i64| media_time.saturating_add(ticks.saturating_sub(shown));
    let decoded = |row: &Row| on_file(row.dts.saturating_sub(part.shift));
    let mut times = Vec::with_capacity(rows.len());
    let mut earliest = 0;
    for row in &rows {
        // The first one is decoded at the beginning of the file's clock.
        let dts = if times.is_empty() { 0 } else { decoded(row).max(earliest) };
        earliest = dts + step;
        let pts = if row.pts < shown { dts.min(media_time - 1) } else { on_file(row.pts) };
        times.push((dts, pts));
    }
    let last = rows.last()?;
    // Where all of the part is in the head, its last picture stays until the next part begins.
    let lasts = if last.place == part.cut.last { part.last_duration } else { last.info.duration };
    let after = decoded(last).saturating_add(i64::from(lasts)).max(earliest);
    let ends = times.iter().skip(1).map(|(dts, _)| *dts).chain([after]);
    let samples: Option<Vec<SampleInfo>> = rows
        .iter()
        .zip(&times)
        .zip(ends)
        .map(|((row, (dts, pts)), end)| {
            Some(SampleInfo {
                duration: u32::try_from(end - dts).ok()?,
                cts_offset: i32::try_from(pts - dts).ok()?,
                ..row.info
            })
        })
        .collect();
    Some(RetimedTrack { track: index, media_time, samples: samples?.into_iter() })
}
