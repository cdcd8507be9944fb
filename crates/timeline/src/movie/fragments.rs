//! Builds a fragmented file: a fragment per stored segment, most of them as they are.
//!
//! What always holds: the samples and their times are those of the file that [`super::build`] makes of the same
//! source, but for the length of the last sound of a fragment, which may be off by less than `SLACK_US` of [`writer`].
//!
//! Where an edit list hides something, the samples up to the first shown one are described by the `moov` itself
//! ([`head`]), because FFmpeg and Chromium do not cut fragments; those after the last shown one, which it is decoded
//! with, are hidden by their decode times ([`tail`]).

mod guide;
mod head;
mod kept;
mod place;
mod remade;
mod tail;
mod writer;

use std::sync::Arc;

use mediahooks_media::cmaf::{FragmentedBuilder, FragmentedTrack};
use mediahooks_media::mp4::Edit;
use mediahooks_media::virtual_file::VirtualFile;

use self::guide::guide;
use self::head::Head;
use self::place::{duration, place};
use self::tail::Tail;
use self::writer::{Writer, Written};
use super::join::{self, Times};
use super::table::Tables;
use super::{BuiltMovie, MovieError, MovieSource, cut_all, describe, read};

pub use self::guide::{Guide, GuideGroup};

/// What a fragmented file shows of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edits {
    /// From the first frame that was asked for on; edit lists hide what comes before.
    Hiding,
    /// All of it; edit lists only take away the delay of composition.
    Whole,
    /// All of it, without edit lists: decode times place the tracks. What is led through by a playlist is so, as
    /// many players do not look for edit lists there.
    Absent,
}

/// A fragmented file that was built.
#[derive(Debug, Clone)]
pub struct BuiltFragments {
    /// The file and what it is.
    pub movie: BuiltMovie,
    /// How players may be led through it.
    pub guide: Arc<Guide>,
}

/// Builds the file.
///
/// Errors: [`MovieError::Empty`] when the range shows nothing; [`MovieError::Mux`]; [`MovieError::Index`].
pub fn build_fragments(source: &MovieSource, edits: Edits) -> Result<BuiltFragments, MovieError> {
    let mut tables = read(source)?;
    let pieces = cut_all(source, &mut tables)?;
    let times = if edits == Edits::Hiding { Times::Edited } else { Times::Plain };
    let joined = join::join(source, pieces, times).ok_or(MovieError::Empty)?;
    let (head, tail) = if edits == Edits::Hiding {
        let tail = Tail::of(source, &tables, &joined);
        (Head::of(source, &tables, &joined, &tail), tail)
    } else {
        Default::default()
    };
    let placed = place(&joined, &head, edits);
    let tracks: Vec<FragmentedTrack<'_>> = joined
        .tracks
        .iter()
        .zip(&placed)
        .map(|(track, placed)| FragmentedTrack {
            track_id: placed.track_id,
            configs: &track.configs,
            edit: (edits != Edits::Absent).then_some(Edit { media_time: placed.media_time, ..track.edit }),
        })
        .collect();
    let created = u64::try_from(source.created.as_seconds()).unwrap_or(0);
    let builder = FragmentedBuilder::new(&tracks, created)?;
    let mut writer = Writer::new(builder, source, &joined, &placed, (head, tail));
    writer.push_all(source, &tables)?;
    let Written { file, marks, ends } = writer.finish(duration(&joined, &placed, edits))?;
    let metadata = describe::describe(source, &tables, &joined, file.len());
    tables.iter().try_for_each(Tables::check)?;
    let asked_us = source.stretches.first().and_then(|stretch| stretch.start_us);
    let ends_us = ends.iter().zip(&placed).map(|(end, placed)| end.to_micros(placed.timescale));
    let guide = guide(&file, &joined, &marks, ends_us.max().unwrap_or(0), asked_us);
    let movie = BuiltMovie { file: Arc::new(file), metadata };
    Ok(BuiltFragments { movie, guide: Arc::new(guide) })
}
