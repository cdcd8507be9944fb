//! The `moov` of a fragmented file: its tracks, the samples that precede all fragments, and `mvex`.

use std::num::NonZeroU32;

use shiguredo_mp4::{
    Mp4FileTime,
    boxes::{MehdBox, MvexBox, StscBox, StscEntry, StssBox, StszBox},
};

use super::builder::FragmentedTrack;
use super::init::track_extends;
use crate::{
    boxes::{
        TrackHeader, append, append_movie_header, append_track, container, edit_list, full_box, overflow,
    },
    error::MuxError,
    mp4::{Column, MOVIE_TIMESCALE, Runs},
    sample::{SampleInfo, Ticks, TrackKind},
};

/// The samples of one track before all fragments: a group of pictures or two, so that plain lists do.
#[derive(Debug, Default)]
pub(super) struct HeadTables {
    samples: Vec<SampleInfo>,
    /// Of each chunk its offset in the media, its number of samples and their configuration.
    chunks: Vec<(u64, u32, usize)>,
}

/// Media before all fragments, up to which the fields that count its bytes have 32 bits. Half of what they could hold:
/// the header, which is still to come, lies before it.
pub(super) const SMALL_MAX: u64 = u32::MAX as u64 / 2;

/// Where a chunk offset has to be filled in, and the chunk's offset in the media before all fragments.
#[derive(Debug)]
pub(super) struct ChunkPlace {
    position: usize,
    offset: u64,
    is_large: bool,
}

impl HeadTables {
    /// Adds a chunk that begins at `offset` in the media.
    pub(super) fn push_chunk(&mut self, offset: u64, config: usize, samples: &[SampleInfo]) {
        if !samples.is_empty() {
            self.chunks.push((offset, u32::try_from(samples.len()).unwrap_or(u32::MAX), config));
            self.samples.extend_from_slice(samples);
        }
    }

    /// Appends the tables of a track. Pictures have composition offsets even where all of those are 0: FFmpeg 5 counts
    /// wrongly which ones of later fragments belong to which picture where the `moov` has none and an edit list leaves
    /// out some of its samples.
    fn append(
        &self,
        out: &mut Vec<u8>,
        kind: TrackKind,
        is_large: bool,
        places: &mut Vec<ChunkPlace>,
    ) -> Result<(), MuxError> {
        self.append_runs(out, *b"stts", 0, Column::Duration)?;
        let are_pictures = kind == TrackKind::Video && !self.samples.is_empty();
        if are_pictures || self.samples.iter().any(|sample| sample.cts_offset != 0) {
            let version = u8::from(self.samples.iter().any(|sample| sample.cts_offset < 0));
            self.append_runs(out, *b"ctts", version, Column::Offset)?;
        }
        if self.samples.iter().any(|sample| !sample.is_sync) {
            let numbered = (1..).zip(&self.samples).filter(|(_, sample)| sample.is_sync);
            let sample_numbers = numbered.filter_map(|(number, _)| NonZeroU32::new(number)).collect();
            append(out, &StssBox { sample_numbers })?;
        }
        let chunks = (1..).zip(&self.chunks).filter_map(|(number, (_, samples, config))| {
            let description = u32::try_from(*config).unwrap_or(u32::MAX).saturating_add(1);
            Some(StscEntry {
                first_chunk: NonZeroU32::new(number)?,
                sample_per_chunk: *samples,
                sample_description_index: NonZeroU32::new(description)?,
            })
        });
        append(out, &StscBox { entries: chunks.collect() })?;
        append(
            out,
            &StszBox::Variable { entry_sizes: self.samples.iter().map(|sample| sample.size).collect() },
        )?;
        full_box(out, if is_large { *b"co64" } else { *b"stco" }, 0, |out| {
            out.extend(u32::try_from(self.chunks.len()).unwrap_or(u32::MAX).to_be_bytes());
            for (offset, ..) in &self.chunks {
                places.push(ChunkPlace { position: out.len(), offset: *offset, is_large });
                out.resize(out.len() + if is_large { 8 } else { 4 }, 0);
            }
            Ok(())
        })
    }

    fn append_runs(
        &self,
        out: &mut Vec<u8>,
        box_type: [u8; 4],
        version: u8,
        column: Column,
    ) -> Result<(), MuxError> {
        let mut runs = Runs::default();
        let mut entries: Vec<[u8; 8]> =
            self.samples.iter().filter_map(|sample| runs.push(column.of(sample))).collect();
        entries.extend(runs.end());
        full_box(out, box_type, version, |out| {
            out.extend(u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes());
            entries.iter().for_each(|entry| out.extend(entry));
            Ok(())
        })
    }
}

/// Appends the `moov` of a file that is shown for `duration` ticks of [`MOVIE_TIMESCALE`]. The durations that belong to
/// the `moov`'s own samples in a fragmented file (ISO/IEC 14496-12 §8.8.2) tell that of all of it: it is what players
/// show that do not read `mehd`. `is_large`: the media of `head` takes more than [`SMALL_MAX`] bytes.
pub(super) fn append_movie(
    out: &mut Vec<u8>,
    tracks: &[FragmentedTrack<'_>],
    head: &[HeadTables],
    is_large: bool,
    created: Mp4FileTime,
    duration: u64,
) -> Result<Vec<ChunkPlace>, MuxError> {
    let mut places = Vec::new();
    container(out, *b"moov", |out| {
        let next_track_id = tracks.iter().map(|track| track.track_id).max().unwrap_or(0).saturating_add(1);
        append_movie_header(out, created, duration, next_track_id)?;
        for (track, tables) in tracks.iter().zip(head) {
            let timescale = track.configs.first().map_or(1, |config| config.timescale);
            let media =
                Ticks(i64::try_from(duration).unwrap_or(i64::MAX)).rescale(MOVIE_TIMESCALE, timescale);
            let header = TrackHeader {
                track_id: track.track_id,
                configs: track.configs,
                created,
                movie_duration: duration,
                media_duration: u64::try_from(media.0).unwrap_or(0),
                edits: track.edit.as_ref().map_or(Ok(Vec::new()), edit_list)?,
            };
            let kind = track.configs.first().map_or(TrackKind::Audio, |config| config.kind);
            append_track(out, header, |out| tables.append(out, kind, is_large, &mut places))?;
        }
        let trex_boxes = tracks.iter().filter_map(|track| {
            let config = track.configs.first()?;
            Some(track_extends(track.track_id, config.kind))
        });
        append(
            out,
            &MvexBox {
                mehd_box: Some(MehdBox { fragment_duration: duration }),
                trex_boxes: trex_boxes.collect(),
                unknown_boxes: Vec::new(),
            },
        )
    })?;
    Ok(places)
}

/// Fills in where the chunks are of a file whose header is `header` and whose media before all fragments begins
/// `mdat_header_len` bytes after it.
pub(super) fn fill_in(
    header: &mut [u8],
    places: &[ChunkPlace],
    mdat_header_len: u64,
) -> Result<(), MuxError> {
    let media_start = header.len() as u64 + mdat_header_len;
    for place in places {
        let offset = media_start + place.offset;
        if place.is_large {
            fill(header, place.position, &offset.to_be_bytes());
        } else {
            let max = u64::from(u32::MAX);
            let offset = u32::try_from(offset).map_err(|_| overflow("stco chunk_offset", offset, max))?;
            fill(header, place.position, &offset.to_be_bytes());
        }
    }
    Ok(())
}

fn fill(header: &mut [u8], position: usize, bytes: &[u8]) {
    if let Some(field) = header.get_mut(position..position + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}
