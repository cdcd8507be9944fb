//! Builds the file of an asset from the sample tables of its segments.
//!
//! Fed by the recorder with a run's tracks and the indexes of the segments a recipe names. What
//! always holds: a track begins on a sample that can be decoded alone; what is shown begins and
//! ends on a frame, but for one that is on screen all through the range; the bytes of samples are
//! referred to, never copied or changed.

mod cut;
mod describe;
mod hold;

use std::borrow::Cow;

use mediahooks_media::error::MuxError;
use mediahooks_media::mp4::{Chunk, Edit, MOVIE_TIMESCALE, MovieBuilder, MovieTrack, VirtualMp4};
use mediahooks_media::sample::{SampleInfo, TrackConfig, TrackKind};
use mediahooks_model::{Metadata, Timestamp};

use self::cut::{TrackCut, TrackTable};
use crate::index::SegmentIndex;

/// A stored segment of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSegment {
    /// Wall clock minus media clock, in microseconds.
    pub wall_offset_us: i64,
    /// The sample table.
    pub index: SegmentIndex,
}

/// What a file is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovieSource {
    /// The run's tracks.
    pub tracks: Vec<TrackConfig>,
    /// The run's segments from a sync sample on, in order and without a hole. A file's extents
    /// name them by position.
    pub segments: Vec<StoredSegment>,
    /// First moment to show, in microseconds of the run's media clock; absent: everything from the
    /// first sample on.
    pub start_us: Option<i64>,
    /// Moment before which to stop, likewise.
    pub stop_us: Option<i64>,
    /// When the asset was made; written into the file.
    pub created: Timestamp,
}

/// A file that was built.
#[derive(Debug, Clone)]
pub struct BuiltMovie {
    /// Header and extents. An extent's `source` is a position in [`MovieSource::segments`].
    pub file: VirtualMp4,
    /// What the file is.
    pub metadata: Metadata,
    /// Position of the first segment that the file needs.
    pub first_segment: usize,
    /// Position of the last segment that the file needs.
    pub last_segment: usize,
}

/// Why there is no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MovieError {
    /// No frame and no sound was received in the range.
    #[error("no media was received in the asked range")]
    Empty,
    /// The media cannot be written as a file.
    #[error("the media cannot be written as MP4")]
    Mux(#[from] MuxError),
}

/// Builds the file.
///
/// Errors: [`MovieError::Empty`] when the range shows nothing; [`MovieError::Mux`].
pub fn build(mut source: MovieSource) -> Result<BuiltMovie, MovieError> {
    stitch(&mut source);
    let held = hold::hold(&mut source);
    let (cuts, shown) = cut::cut(&source, held).ok_or(MovieError::Empty)?;
    let tracks: Vec<MovieTrack<'_>> = cuts
        .iter()
        .map(|cut| MovieTrack {
            config: &source.tracks[cut.track],
            edit: edit(cut, &source.tracks[cut.track], shown),
        })
        .collect();
    let created = u64::try_from(source.created.as_seconds()).unwrap_or(0);
    let mut builder = MovieBuilder::new(&tracks, created)?;
    for position in 0..source.segments.len() {
        push_segment(&mut builder, &source, &cuts, position)?;
    }
    let file = builder.finish()?;
    let first_segment = cuts.iter().map(|cut| cut.first.segment).min().unwrap_or(0);
    let last_segment = cuts.iter().map(|cut| cut.last.segment).max().unwrap_or(0);
    let metadata = describe::describe(&source, &cuts, shown, file.len);
    Ok(BuiltMovie { file, metadata, first_segment, last_segment })
}

/// What a player shows, in ticks of [`MOVIE_TIMESCALE`] on the run's media clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    start: i64,
    end: i64,
}

/// A segment is stored before it is known when its tracks go on. Here it is: the last sample of
/// each track lasts until the first one in the next segment.
fn stitch(source: &mut MovieSource) {
    for track in 0..source.tracks.len() {
        let mut next_dts = None;
        for segment in source.segments.iter_mut().rev() {
            let Some(span) = segment.index.tracks.iter_mut().find(|span| span.track as usize == track) else {
                continue;
            };
            let end = span.end_dts().0;
            if let (Some(next), Some(last)) = (next_dts, span.samples.last_mut()) {
                let duration: i64 = next - (end - i64::from(last.duration));
                last.duration = u32::try_from(duration).unwrap_or(last.duration);
            }
            next_dts = Some(span.base_dts.0);
        }
    }
}

/// The edit that shows of a track what lies in `shown`.
fn edit(cut: &TrackCut, config: &TrackConfig, shown: Shown) -> Edit {
    let to_movie = |ticks: i64| cut::to_movie(ticks, config.timescale);
    let start = to_movie(cut.shown_start_pts).max(shown.start);
    let end = to_movie(cut.shown_end_pts).min(shown.end);
    // Where the track is shown from its own first tick on, its clock is exact and the movie's may
    // be rounded.
    let media_start = if start == to_movie(cut.shown_start_pts) {
        cut.shown_start_pts
    } else {
        cut::from_movie(start, config.timescale)
    };
    Edit {
        empty: u64::try_from(start.saturating_sub(shown.start)).unwrap_or(0),
        media_time: media_start.saturating_sub(cut.first_dts).saturating_add(composition_shift(cut)),
        duration: u64::try_from(end.saturating_sub(start)).unwrap_or(0),
    }
}

/// What is added to all composition offsets of a track. An edit cannot begin before the first
/// decode time (`media_time`, ISO/IEC 14496-12 §8.6.6), but with negative offsets the first frame
/// shown can.
fn composition_shift(cut: &TrackCut) -> i64 {
    cut.first_dts.saturating_sub(cut.shown_start_pts).max(0)
}

/// A sample `ticks` later in composition.
fn shifted(sample: &SampleInfo, ticks: i64) -> SampleInfo {
    let offset = i64::from(sample.cts_offset).saturating_add(ticks);
    SampleInfo { cts_offset: i32::try_from(offset).unwrap_or(i32::MAX), ..*sample }
}

/// Adds what the cuts keep of one segment.
fn push_segment<'a>(
    builder: &mut MovieBuilder<'a>,
    source: &MovieSource,
    cuts: &[TrackCut],
    position: usize,
) -> Result<(), MuxError> {
    for (number, cut) in cuts.iter().enumerate() {
        let table = TrackTable { source, track: cut.track };
        let Some(span) = table.span(position) else { continue };
        let Some(kept) = cut.kept(position, span.samples.len()) else { continue };
        let skipped: u64 = span.samples[..kept.start].iter().map(|sample| u64::from(sample.size)).sum();
        let mut samples = Cow::Borrowed(&span.samples[kept]);
        let shift = composition_shift(cut);
        if shift > 0 {
            samples = samples.iter().map(|sample| shifted(sample, shift)).collect();
        }
        builder.push(&Chunk {
            track: number,
            source: u32::try_from(position).unwrap_or(u32::MAX),
            offset: u64::from(span.data_offset) + skipped,
            samples: &samples,
        })?;
    }
    Ok(())
}

/// Position of the video track, if there is one.
fn video_track(tracks: &[TrackConfig]) -> Option<usize> {
    tracks.iter().position(|track| track.kind == TrackKind::Video)
}
