//! Builds the file of an asset from the sample tables of its segments.
//!
//! Fed by the recorder with stretches of runs, each with the run's tracks and the indexes of the segments
//! a recipe names. What always holds: a track begins on a sample that can be decoded alone; what is shown
//! begins and ends on a frame, but for one that is on screen all through the range; the bytes of samples
//! are referred to, never copied or changed.

mod cut;
mod describe;
mod hold;
mod join;

use std::borrow::Cow;
use std::sync::Arc;

use mediahooks_media::error::MuxError;
use mediahooks_media::mp4::{Chunk, MOVIE_TIMESCALE, MovieBuilder, MovieTrack};
use mediahooks_media::sample::{SampleInfo, TrackConfig, TrackKind};
use mediahooks_media::virtual_file::VirtualFile;
use mediahooks_model::{CutMode, Metadata, TimelineId, Timestamp};

use self::cut::{TrackCut, TrackTable};
use self::join::Joined;
use crate::index::SegmentIndex;

pub use self::join::{break_between, can_join};

/// Raised when other bytes are made of the same segments: files that somebody has a part of are then others.
pub const LAYOUT: u32 = 1;

/// A stored segment of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSegment {
    /// Wall clock minus media clock, in microseconds.
    pub wall_offset_us: i64,
    /// The sample table.
    pub index: SegmentIndex,
}

/// A part of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The timeline of the run.
    pub timeline: TimelineId,
    /// The run's tracks, at most one of each kind.
    pub tracks: Vec<TrackConfig>,
    /// The run's segments from a sync sample on, in order and without a hole.
    pub segments: Vec<StoredSegment>,
    /// First moment to show, in microseconds of the run's media clock; absent: everything from the
    /// first sample on.
    pub start_us: Option<i64>,
    /// Moment before which to stop, likewise.
    pub stop_us: Option<i64>,
}

/// What a file is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovieSource {
    /// In the order in which they are shown; several only where [`can_join`] allows it. A file's extents
    /// name segments by their position among those of all stretches.
    pub stretches: Vec<Stretch>,
    /// Whether the last picture of a stretch is held until the next stretch began; else the gap is
    /// left out.
    pub hold_gaps: bool,
    /// Where the file begins and ends.
    pub cut: CutMode,
    /// When the asset was made; written into the file.
    pub created: Timestamp,
}

/// A file that was built.
#[derive(Debug, Clone)]
pub struct BuiltMovie {
    /// Its bytes. An extent's `source` is a position among the segments of all stretches.
    pub file: Arc<dyn VirtualFile>,
    /// What the file is.
    pub metadata: Metadata,
}

/// What a file needs of one stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed {
    /// Position of the stretch in [`MovieSource::stretches`].
    pub stretch: usize,
    /// Position of the first segment needed, in the stretch.
    pub first_segment: usize,
    /// Position of the last segment needed, likewise.
    pub last_segment: usize,
    /// Whether it shows a picture from before its range; its tables were changed for that.
    pub holds_picture: bool,
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
    let pieces = cut_all(&mut source);
    let joined = join::join(&mut source, pieces).ok_or(MovieError::Empty)?;
    let tracks: Vec<MovieTrack<'_>> =
        joined.tracks.iter().map(|track| MovieTrack { configs: &track.configs, edit: track.edit }).collect();
    let created = u64::try_from(source.created.as_seconds()).unwrap_or(0);
    let mut builder = MovieBuilder::new(&tracks, created)?;
    let mut before = 0;
    for (number, stretch) in source.stretches.iter().enumerate() {
        for position in 0..stretch.segments.len() {
            push_segment(&mut builder, &joined, number, stretch, position, before)?;
        }
        before += stretch.segments.len();
    }
    let file = builder.finish()?;
    let metadata = describe::describe(&source, &joined, file.len());
    Ok(BuiltMovie { file: Arc::new(file), metadata })
}

/// Tells which segments the file of `source` needs: built from these alone, it is the file that will be
/// built from them again. Changes tables in `source`: that of the last segment needed, and all where a
/// picture is held, have to be read anew before it is built.
///
/// Errors: [`MovieError::Empty`] when the range shows nothing.
pub fn needed(source: &mut MovieSource) -> Result<Vec<Needed>, MovieError> {
    let pieces = cut_all(source);
    let needed = pieces.iter().filter_map(|piece| {
        let places = || piece.cuts.iter();
        Some(Needed {
            stretch: piece.stretch,
            first_segment: places().map(|cut| cut.first.segment).min()?,
            last_segment: places().map(|cut| cut.last.segment).max()?,
            holds_picture: piece.held,
        })
    });
    let needed: Vec<Needed> = needed.collect();
    if needed.is_empty() { Err(MovieError::Empty) } else { Ok(needed) }
}

/// What a player shows, in ticks of [`MOVIE_TIMESCALE`] on a run's media clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    start: i64,
    end: i64,
}

/// What a file shows of one stretch.
#[derive(Debug)]
struct Piece {
    /// Position of the stretch.
    stretch: usize,
    /// One per track that has something to show, pictures first; never empty.
    cuts: Vec<TrackCut>,
    shown: Shown,
    /// Whether [`hold`] moved a picture.
    held: bool,
}

/// Cuts every stretch; those that show nothing are left out.
fn cut_all(source: &mut MovieSource) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (number, stretch) in source.stretches.iter_mut().enumerate() {
        stitch(stretch);
        let held = source.cut == CutMode::Frame && hold::hold(stretch);
        let cut = cut::cut(stretch, held, source.cut);
        pieces.extend(cut.map(|(cuts, shown)| Piece { stretch: number, cuts, shown, held }));
    }
    pieces
}

/// A segment is stored before it is known when its tracks go on. Here it is: the last sample of
/// each track lasts until the first one in the next segment.
fn stitch(stretch: &mut Stretch) {
    for track in 0..stretch.tracks.len() {
        let mut next_dts = None;
        for segment in stretch.segments.iter_mut().rev() {
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

/// A sample `ticks` later in composition.
fn shifted(sample: &SampleInfo, ticks: i64) -> SampleInfo {
    let offset = i64::from(sample.cts_offset).saturating_add(ticks);
    let offset = offset.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    SampleInfo { cts_offset: i32::try_from(offset).unwrap_or(i32::MAX), ..*sample }
}

/// Adds what the cuts keep of one segment, `before` segments being those of earlier stretches.
fn push_segment<'a>(
    builder: &mut MovieBuilder<'a>,
    joined: &Joined,
    number: usize,
    stretch: &Stretch,
    position: usize,
    before: usize,
) -> Result<(), MuxError> {
    for (track_number, track) in joined.tracks.iter().enumerate() {
        let Some(part) = track.parts.iter().find(|part| part.stretch == number) else { continue };
        let Some(span) = (TrackTable { stretch, track: part.cut.track }).span(position) else { continue };
        let Some(kept) = part.cut.kept(position, span.samples.len()) else { continue };
        let skipped: u64 = span.samples[..kept.start].iter().map(|sample| u64::from(sample.size)).sum();
        let mut samples = Cow::Borrowed(&span.samples[kept]);
        if part.shift != 0 {
            samples = samples.iter().map(|sample| shifted(sample, part.shift)).collect();
        }
        builder.push(&Chunk {
            track: track_number,
            config: part.config,
            source: u32::try_from(before + position).unwrap_or(u32::MAX),
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
