//! Builds the file of an asset from the sample tables of its segments.
//!
//! Fed by the recorder with stretches of runs, each with the run's tracks and the indexes of the segments
//! a recipe names. What always holds: a track begins on a sample that can be decoded alone; what is shown
//! begins and ends on a frame, but for one that is on screen long before the range begins or after it ends; the bytes
//! of samples are referred to, never copied or changed.

mod captured;
mod cut;
mod describe;
mod fragments;
mod hold;
mod join;
mod samples;
mod table;
mod webm;

use std::sync::Arc;

use bytes::Bytes;
use mediahooks_media::error::MuxError;
use mediahooks_media::mp4::{MOVIE_TIMESCALE, MovieBuilder, MovieTrack};
use mediahooks_media::sample::{TrackConfig, TrackKind};
use mediahooks_media::virtual_file::VirtualFile;
use mediahooks_media::webm::WebmInfo;
use mediahooks_model::{CutMode, Metadata, TargetFormat, TimelineId, Timestamp};

use self::cut::{InFile, TrackCut};
use self::join::{Joined, Times};
use self::samples::MovieSamples;
use self::table::Tables;
use crate::index::{IndexError, StoredIndex};

pub use self::fragments::{BuiltFragments, Edits, Guide, GuideGroup, build_fragments};
pub use self::join::{break_between, can_join};

/// Raised when other bytes are made of the same segments: files that somebody has a part of are then others.
pub const LAYOUT: u32 = 6;

/// A stored segment of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSegment {
    /// Wall clock minus media clock, in microseconds.
    pub wall_offset_us: i64,
    /// By how much that is too large, as far as is known ([`crate::hindsight`]). It is for what is told of a file; the
    /// file itself stays the same when more becomes known.
    pub late_us: i64,
    /// The sample table. A file that is built keeps it, and with it the buffer that it is a part of: that should hold
    /// no others but those of the same source.
    pub index: StoredIndex,
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
    /// Moment before which to stop, likewise. The last picture lasts up to it: the feed has to have been live until then.
    pub stop_us: Option<i64>,
    /// By how much [`StoredSegment::wall_offset_us`] of what it shows first is too large, as it is written into the file.
    /// [`narrow`] sets it to what is known then, and who builds the file again gives the same.
    pub late_us: i64,
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
    /// Where the file begins and ends. A WebM has nothing that hides samples: it always begins with a key frame.
    pub cut: CutMode,
    /// What file it is.
    pub format: TargetFormat,
    /// When the asset was made; written into the file.
    pub created: Timestamp,
}

impl MovieSource {
    fn cut(&self) -> CutMode {
        if self.format == TargetFormat::Webm { CutMode::Keyframe } else { self.cut }
    }
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
}

/// Why there is no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MovieError {
    /// No frame and no sound was received in the range.
    #[error("no media was received in the asked range")]
    Empty,
    /// The media cannot be written as a file.
    #[error("the media cannot be written as a file")]
    Mux(#[from] MuxError),
    /// A stored sample table cannot be read.
    #[error("a stored segment index cannot be read")]
    Index(#[from] IndexError),
}

/// Builds the file.
///
/// Errors: [`MovieError::Empty`] when the range shows nothing; [`MovieError::Mux`], also for codecs that the
/// format has not; [`MovieError::Index`].
pub fn build(source: &MovieSource) -> Result<BuiltMovie, MovieError> {
    lay_out(source, read(source)?)
}

/// A source of which nothing is left but what its file needs.
#[derive(Debug)]
pub struct Narrowed {
    /// What that is.
    pub needed: Vec<Needed>,
    tables: Vec<Tables>,
}

/// Takes out of `source` what its file does not need, and tells what it does: built from these segments alone, with the
/// [`Stretch::late_us`] that it has then, it will be the same file again.
///
/// Errors: [`MovieError::Empty`] when the range shows nothing; [`MovieError::Index`].
pub fn narrow(source: &mut MovieSource) -> Result<Narrowed, MovieError> {
    let mut tables = read(source)?;
    let pieces = cut_all(source, &mut tables)?;
    let len_before = index_len(&source.stretches);
    let (mut needed, mut stretches, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let all = source.stretches.drain(..).zip(tables).enumerate();
    for (number, (mut stretch, mut tables)) in all {
        let Some(piece) = pieces.iter().find(|piece| piece.stretch == number) else { continue };
        let Some((first_segment, last_segment)) = piece.segments() else { continue };
        stretch.late_us = captured::known_late_us(&stretch, (first_segment, last_segment), piece.shown.start);
        stretch.segments.truncate(last_segment + 1);
        stretch.segments.drain(..first_segment);
        if piece.held {
            tables = Tables::read(&stretch)?;
        } else {
            tables.trim(first_segment, last_segment);
        }
        needed.push(Needed { stretch: number, first_segment, last_segment });
        stretches.push(stretch);
        kept.push(tables);
    }
    let len = index_len(&stretches);
    if len < len_before / 2 {
        detach(&mut stretches, len);
    }
    source.stretches = stretches;
    if needed.is_empty() { Err(MovieError::Empty) } else { Ok(Narrowed { needed, tables: kept }) }
}

impl Narrowed {
    /// Builds the file of `source`, which is as [`narrow`] left it.
    ///
    /// Errors: those of [`build`].
    pub fn build(self, source: &MovieSource) -> Result<BuiltMovie, MovieError> {
        lay_out(source, self.tables)
    }
}

/// Bytes of the sample tables of stretches.
fn index_len(stretches: &[Stretch]) -> usize {
    let segments = stretches.iter().flat_map(|stretch| &stretch.segments);
    segments.map(|segment| segment.index.0.len()).sum()
}

/// Puts sample tables, of `len` bytes in all, into a buffer of their own: a file would keep those of what was taken out,
/// because it shares theirs.
fn detach(stretches: &mut [Stretch], len: usize) {
    let mut tables = Vec::with_capacity(len);
    let segments = stretches.iter().flat_map(|stretch| &stretch.segments);
    segments.for_each(|segment| tables.extend_from_slice(&segment.index.0));
    let mut rest = Bytes::from(tables);
    for segment in stretches.iter_mut().flat_map(|stretch| &mut stretch.segments) {
        segment.index.0 = rest.split_to(segment.index.0.len());
    }
}

fn read(source: &MovieSource) -> Result<Vec<Tables>, IndexError> {
    source.stretches.iter().map(Tables::read).collect()
}

fn lay_out(source: &MovieSource, mut tables: Vec<Tables>) -> Result<BuiltMovie, MovieError> {
    let pieces = cut_all(source, &mut tables)?;
    let joined = join::join(source, pieces, Times::Edited).ok_or(MovieError::Empty)?;
    if source.format == TargetFormat::Webm {
        return lay_out_webm(source, &tables, &joined);
    }
    let tracks: Vec<MovieTrack<'_>> =
        joined.tracks.iter().map(|track| MovieTrack { configs: &track.configs, edit: track.edit }).collect();
    let created = u64::try_from(source.created.as_seconds()).unwrap_or(0);
    let mut builder = MovieBuilder::new(&tracks, created, MovieSamples::new(source, &joined))?;
    samples::push_all(&mut builder, source, &tables, &joined)?;
    let file = builder.finish()?;
    let metadata = describe::describe(source, &tables, &joined, file.len());
    tables.iter().try_for_each(Tables::check)?;
    Ok(BuiltMovie { file: Arc::new(file), metadata })
}

/// Lays out a WebM.
fn lay_out_webm(source: &MovieSource, tables: &[Tables], joined: &Joined) -> Result<BuiltMovie, MovieError> {
    let mut metadata = describe::describe(source, tables, joined, 0);
    let info = WebmInfo {
        duration_us: metadata.duration_ms.unwrap_or(0).saturating_mul(1000),
        captured_us: joined.pieces.first().map(|piece| captured::written_start_us(source, piece)),
    };
    let file = webm::layout(source, tables, joined, info)?;
    metadata.format = "WebM".into();
    metadata.pre_roll_ms = Some(shown_before_ms(source, joined));
    metadata.sizes = [("webm".to_owned(), file.len())].into();
    tables.iter().try_for_each(Tables::check)?;
    Ok(BuiltMovie { file: Arc::new(file), metadata })
}

/// How long before the moment that was asked for a file begins.
fn shown_before_ms(source: &MovieSource, joined: &Joined) -> u64 {
    let Some(first) = joined.pieces.first() else { return 0 };
    let asked_us = source.stretches.get(first.stretch).and_then(|stretch| stretch.start_us);
    let early_us = asked_us.map_or(0, |asked_us| asked_us.saturating_sub(cut::to_us(first.shown.start)));
    u64::try_from(early_us / 1000).unwrap_or(0)
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

impl Piece {
    /// Positions of the first and of the last segment that it needs.
    fn segments(&self) -> Option<(usize, usize)> {
        let first = self.cuts.iter().map(|cut| cut.first.segment).min()?;
        let last = self.cuts.iter().map(|cut| cut.last.segment).max()?;
        Some((first, last))
    }
}

/// Cuts every stretch; those that show nothing are left out.
fn cut_all(source: &MovieSource, tables: &mut [Tables]) -> Result<Vec<Piece>, IndexError> {
    let mut pieces = Vec::new();
    // From the end on: a file ends with the last stretch that shows something.
    for (number, (stretch, tables)) in source.stretches.iter().zip(tables).enumerate().rev() {
        let held = source.cut() == CutMode::Frame && hold::hold(stretch, tables);
        let place = InFile { opens: number == 0, closes: pieces.is_empty() };
        let cut = cut::cut(stretch, tables, place, source.cut());
        tables.check()?;
        pieces.extend(cut.map(|(cuts, shown)| Piece { stretch: number, cuts, shown, held }));
    }
    pieces.reverse();
    Ok(pieces)
}

/// Position of the video track, if there is one.
fn video_track(tracks: &[TrackConfig]) -> Option<usize> {
    tracks.iter().position(|track| track.kind == TrackKind::Video)
}
