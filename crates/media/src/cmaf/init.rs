//! The initialization segment: `ftyp` and a `moov` without samples.

use shiguredo_mp4::{
    Mp4FileTime, SampleFlags,
    boxes::{Brand, MvexBox, StcoBox, StscBox, StszBox, SttsBox, TrexBox},
};

use super::fragment::sample_flags;
use crate::{
    boxes::{TrackHeader, append, append_file_type, append_movie_header, append_track, container},
    error::MuxError,
    sample::{TrackConfig, TrackKind},
};

/// A track of an initialization segment.
#[derive(Debug, Clone, Copy)]
pub struct InitTrack<'a> {
    /// Number of the track, from 1, unique in the file.
    pub track_id: u32,
    /// Its codec and timescale.
    pub config: &'a TrackConfig,
}

/// Encodes the initialization segment that makes the fragments after it a playable file.
///
/// - Errors: [`MuxError::Empty`] without tracks; [`MuxError::NoDimensions`] for video whose picture
///   size is not known yet; [`MuxError::NoTimescale`].
///
/// Spec: ISO/IEC 23000-19 §7.3 (CMAF header), ISO/IEC 14496-12 §8.8.3 (`trex`).
pub fn encode_init(tracks: &[InitTrack<'_>]) -> Result<Vec<u8>, MuxError> {
    if tracks.is_empty() {
        return Err(MuxError::Empty { what: "an initialization segment without tracks" });
    }
    let mut out = Vec::new();
    append_brands(&mut out, tracks.len())?;
    container(&mut out, *b"moov", |out| {
        let next_track_id = tracks.iter().map(|track| track.track_id).max().unwrap_or(0).saturating_add(1);
        append_movie_header(out, Mp4FileTime::default(), 0, next_track_id)?;
        for track in tracks {
            let header = TrackHeader {
                track_id: track.track_id,
                configs: std::slice::from_ref(track.config),
                created: Mp4FileTime::default(),
                movie_duration: 0,
                media_duration: 0,
                edits: Vec::new(),
            };
            append_track(out, header, append_empty_tables)?;
        }
        append(out, &movie_extends(tracks))
    })?;
    Ok(out)
}

fn append_brands(out: &mut Vec<u8>, tracks: usize) -> Result<(), MuxError> {
    // A CMAF track file has one track (§7.3.1); with more the fragments are the same but the file may
    // not claim the brand.
    let cmaf = (tracks == 1).then_some(Brand::new(*b"cmfc"));
    let brands: Vec<Brand> = cmaf.into_iter().chain([Brand::ISO6, Brand::MP41]).collect();
    append_file_type(out, Brand::ISO6, &brands)
}

fn append_empty_tables(out: &mut Vec<u8>) -> Result<(), MuxError> {
    append(out, &SttsBox { entries: Vec::new() })?;
    append(out, &StscBox { entries: Vec::new() })?;
    append(out, &StszBox::Variable { entry_sizes: Vec::new() })?;
    append(out, &StcoBox { chunk_offsets: Vec::new() })
}

fn movie_extends(tracks: &[InitTrack<'_>]) -> MvexBox {
    let trex_boxes = tracks.iter().map(|track| track_extends(track.track_id, track.config.kind));
    MvexBox { mehd_box: None, trex_boxes: trex_boxes.collect(), unknown_boxes: Vec::new() }
}

/// What the fragments of a track mean that say nothing of their own.
pub(super) fn track_extends(track_id: u32, kind: TrackKind) -> TrexBox {
    TrexBox {
        track_id,
        default_sample_description_index: 1,
        default_sample_duration: 0,
        default_sample_size: 0,
        default_sample_flags: match kind {
            TrackKind::Video => SampleFlags::empty(),
            TrackKind::Audio => sample_flags(true),
        },
    }
}
