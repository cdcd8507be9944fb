//! Lays out a movie: collects the sample tables of its tracks and places their chunks in the file.
//!
//! Fed by the recorder with the segments of a recipe, in file order. Nothing here depends on anything
//! but its arguments, so a movie laid out again is the same to the byte.

use std::time::Duration;

use bytes::Bytes;
use shiguredo_mp4::{
    FixedPointNumber, Mp4FileTime,
    boxes::{Brand, ElstEntry},
};

use super::{
    MOVIE_TIMESCALE,
    file::{HEADER, VirtualMp4, push_extent},
    tables::{ChunkOffsets, SampleTables},
};
use crate::{
    boxes::{TrackHeader, append_file_type, append_movie_header, append_track, container, full_box},
    error::MuxError,
    sample::{SampleInfo, Ticks, TrackConfig},
    virtual_file::Extent,
};

/// Which part of a track is shown, and when (ISO/IEC 14496-12 §8.6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// Nothing is shown for this long before the media starts, in ticks of [`MOVIE_TIMESCALE`].
    pub empty: u64,
    /// Composition time at which the media starts, in ticks of the track, on a timeline where the
    /// first included sample has decode time 0. Never negative.
    pub media_time: i64,
    /// How long the media is shown, in ticks of [`MOVIE_TIMESCALE`].
    pub duration: u64,
}

/// A track of a movie.
#[derive(Debug, Clone, Copy)]
pub struct MovieTrack<'a> {
    /// Its codec and timescale; more than one where the configuration changes on the way: each becomes a
    /// sample entry (ISO/IEC 14496-12 §8.5.2). Never empty; all of one kind and timescale.
    pub configs: &'a [TrackConfig],
    /// The part that is shown.
    pub edit: Edit,
}

impl<'a> MovieTrack<'a> {
    /// What the track is where nothing distinguishes its configurations.
    fn config(&self) -> Result<&'a TrackConfig, MuxError> {
        self.configs.first().ok_or(MuxError::Empty { what: "a track of a movie without a configuration" })
    }
}

/// Samples of one track that lie one after another in a source.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Index of the track in the movie.
    pub track: usize,
    /// Which of the track's configurations decodes the samples.
    pub config: usize,
    /// The caller's number of the file that holds the samples.
    pub source: u32,
    /// Offset of the first sample's first byte in it.
    pub offset: u64,
    /// In decode order, following those of the track's previous chunk.
    pub samples: &'a [SampleInfo],
}

/// A movie whose sample tables are all in memory. For long ones feed a [`MovieBuilder`] instead.
#[derive(Debug, Clone, Copy)]
pub struct Movie<'a> {
    /// Tracks, numbered from 1 in the file.
    pub tracks: &'a [MovieTrack<'a>],
    /// In the order in which the file has them.
    pub chunks: &'a [Chunk<'a>],
    /// When the movie was made, in seconds since 1970-01-01 00:00 UTC.
    pub created_unix_s: u64,
}

/// Lays out a whole movie at once.
///
/// - Errors: those of [`MovieBuilder`].
pub fn layout(movie: Movie<'_>) -> Result<VirtualMp4, MuxError> {
    let mut builder = MovieBuilder::new(movie.tracks, movie.created_unix_s)?;
    for chunk in movie.chunks {
        builder.push(chunk)?;
    }
    builder.finish()
}

/// Lays out a movie chunk by chunk. Of each sample it keeps only its bytes in the index (4 to 24), so
/// the sample tables of hours never have to be in memory together.
#[derive(Debug)]
pub struct MovieBuilder<'a> {
    tracks: Vec<(MovieTrack<'a>, SampleTables)>,
    /// Of each track, the parameter sets of each of its configurations.
    sets: Vec<Vec<ParameterSets>>,
    /// Whether a track has got samples of a configuration other than its first.
    is_changed: Vec<bool>,
    /// All parameter sets that are needed, one behind the other.
    inserted: Vec<u8>,
    created: Mp4FileTime,
    extents: Vec<Extent>,
    media_len: u64,
}

/// Parameter sets in [`MovieBuilder::inserted`].
#[derive(Debug, Clone, Copy)]
struct ParameterSets {
    offset: u64,
    len: u32,
}

impl<'a> MovieBuilder<'a> {
    /// A movie of `tracks`, made at `created_unix_s` (seconds since 1970-01-01 00:00 UTC).
    ///
    /// - Errors: [`MuxError::Empty`] without tracks; [`MuxError::NegativeTime`] for an edit that starts
    ///   before its media; [`MuxError::NoTimescale`].
    pub fn new(tracks: &[MovieTrack<'a>], created_unix_s: u64) -> Result<Self, MuxError> {
        if tracks.is_empty() {
            return Err(MuxError::Empty { what: "a movie without tracks" });
        }
        for track in tracks {
            if track.edit.media_time < 0 {
                return Err(MuxError::NegativeTime {
                    field: "elst media_time",
                    value: track.edit.media_time,
                });
            }
            if track.config()?.timescale == 0 {
                return Err(MuxError::NoTimescale);
            }
        }
        let mut inserted = Vec::new();
        let mut sets_of = |config: &TrackConfig| {
            let sets = config.codec.parameter_sets();
            let offset = inserted.len() as u64;
            inserted.extend(&sets);
            ParameterSets { offset, len: u32::try_from(sets.len()).unwrap_or(0) }
        };
        let sets = tracks.iter().map(|track| match track.configs {
            [_] => Vec::new(),
            several => several.iter().map(&mut sets_of).collect(),
        });
        Ok(Self {
            sets: sets.collect(),
            is_changed: vec![false; tracks.len()],
            inserted,
            tracks: tracks.iter().map(|track| (*track, SampleTables::default())).collect(),
            created: Mp4FileTime::from_unix_time(Duration::from_secs(created_unix_s)),
            extents: Vec::new(),
            media_len: 0,
        })
    }

    /// Appends a chunk to the file and its samples to their track. A chunk without samples adds
    /// nothing.
    ///
    /// Where the configuration has changed, each sync sample is preceded by the parameter sets of its
    /// own: players that keep to the first sample entry can go on with those.
    ///
    /// - Errors: [`MuxError::NoSuchTrack`]; [`MuxError::NoSuchConfig`]; [`MuxError::Overflow`] past 2^32
    ///   samples of a track.
    pub fn push(&mut self, chunk: &Chunk<'_>) -> Result<(), MuxError> {
        let tracks = self.tracks.len();
        let Some((track, tables)) = self.tracks.get_mut(chunk.track) else {
            return Err(MuxError::NoSuchTrack { track: chunk.track, tracks });
        };
        if chunk.config >= track.configs.len() {
            return Err(MuxError::NoSuchConfig { config: chunk.config, configs: track.configs.len() });
        }
        if chunk.samples.is_empty() {
            return Ok(());
        }
        let is_changed = &mut self.is_changed[chunk.track];
        *is_changed |= chunk.config > 0;
        let sets = self.sets[chunk.track].get(chunk.config).filter(|sets| *is_changed && sets.len > 0);
        let Some(sets) = sets.copied() else {
            tables.push_chunk(self.media_len, chunk.config, chunk.samples)?;
            self.append(chunk.source, chunk.offset, len_of(chunk.samples));
            return Ok(());
        };
        let mut offset = chunk.offset;
        let begins_group = |_: &SampleInfo, next: &SampleInfo| !next.is_sync;
        for group in chunk.samples.chunk_by(begins_group) {
            let mut samples = group.to_vec();
            let begins = self.media_len;
            if let Some(first) = samples.first_mut().filter(|first| first.is_sync) {
                first.size = first.size.saturating_add(sets.len);
                self.append(HEADER, sets.offset, u64::from(sets.len));
            }
            let Some((_, tables)) = self.tracks.get_mut(chunk.track) else { continue };
            tables.push_chunk(begins, chunk.config, &samples)?;
            self.append(chunk.source, offset, len_of(group));
            offset += len_of(group);
        }
        Ok(())
    }

    /// Appends bytes of a source to the file.
    fn append(&mut self, source: u32, offset: u64, len: u64) {
        push_extent(&mut self.extents, Extent { source, offset, len });
        self.media_len += len;
    }

    /// Writes the header.
    ///
    /// - Errors: [`MuxError::Empty`] for a track that got no samples; [`MuxError::NoDimensions`];
    ///   [`MuxError::Overflow`] for an index of 4 GiB.
    pub fn finish(self) -> Result<VirtualMp4, MuxError> {
        if self.tracks.iter().any(|(_, tables)| tables.is_empty()) {
            return Err(MuxError::Empty { what: "a track of a movie without samples" });
        }
        let inserted = if self.is_changed.contains(&true) { self.inserted } else { Vec::new() };
        let header_len = header_len_at_most(&self.tracks)? + inserted.len();
        let wide_offsets = header_len as u64 + self.media_len > u64::from(u32::MAX);
        let mut header = Vec::with_capacity(header_len);
        append_file_type(&mut header, Brand::ISOM, &[Brand::ISOM, Brand::ISO2, Brand::ISO6, Brand::MP41])?;
        let chunk_offsets = append_movie(&mut header, self.tracks, self.created, wide_offsets)?;
        append_media_header(&mut header, self.media_len + inserted.len() as u64);
        let inserted_start = header.len() as u64;
        header.extend(inserted);
        let media_start = header.len() as u64;
        for offsets in chunk_offsets {
            offsets.fill_in(&mut header, media_start)?;
        }
        let mut extents = self.extents;
        for extent in extents.iter_mut().filter(|extent| extent.source == HEADER) {
            extent.offset += inserted_start;
        }
        Ok(VirtualMp4::new(Bytes::from(header), extents))
    }
}

/// Bytes of samples.
fn len_of(samples: &[SampleInfo]) -> u64 {
    samples.iter().map(|sample| u64::from(sample.size)).sum()
}

/// An upper bound of the header's length: the offsets in it must be laid out before they are known.
fn header_len_at_most(tracks: &[(MovieTrack<'_>, SampleTables)]) -> Result<usize, MuxError> {
    // `ftyp`, `mvhd` and the head of `mdat` once; of a track, all boxes but its tables and its record.
    const FIXED: usize = 512;
    const PER_TRACK: usize = 1024;
    let mut len = FIXED;
    for (track, tables) in tracks {
        len += PER_TRACK + tables.len_at_most();
        for config in track.configs {
            len += shiguredo_mp4::Encode::encode_to_vec(&config.sample_entry()?)?.len();
        }
    }
    Ok(len)
}

fn append_movie(
    out: &mut Vec<u8>,
    tracks: Vec<(MovieTrack<'_>, SampleTables)>,
    created: Mp4FileTime,
    wide_offsets: bool,
) -> Result<Vec<ChunkOffsets>, MuxError> {
    let mut chunk_offsets = Vec::with_capacity(tracks.len());
    container(out, *b"moov", |out| {
        let mut longest = 0;
        for (track, tables) in &tracks {
            longest = longest.max(shown_duration(track, tables)?);
        }
        append_movie_header(out, created, longest, track_id(tracks.len()))?;
        for (index, (track, tables)) in tracks.into_iter().enumerate() {
            let header = TrackHeader {
                track_id: track_id(index),
                configs: track.configs,
                created,
                movie_duration: shown_duration(&track, &tables)?,
                media_duration: tables.media_duration(),
                edits: edit_list(&track, &tables)?,
            };
            let config = track.config()?;
            append_track(out, header, |out| {
                let usual_duration = tables.usual_duration();
                let count = tables.count();
                chunk_offsets.push(tables.append(out, wide_offsets)?);
                append_roll_groups(out, config, usual_duration, count)
            })?;
        }
        Ok(())
    })?;
    Ok(chunk_offsets)
}

fn track_id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}

/// True when the edit leaves the media as it is without one.
fn shows_all(track: &MovieTrack<'_>, tables: &SampleTables) -> Result<bool, MuxError> {
    let Edit { empty, media_time, duration } = track.edit;
    Ok(empty == 0 && media_time == 0 && duration >= media_end(track, tables)?)
}

/// When the media ends without an edit, in ticks of the movie.
fn media_end(track: &MovieTrack<'_>, tables: &SampleTables) -> Result<u64, MuxError> {
    let end = Ticks(tables.composition_end()).rescale(track.config()?.timescale, MOVIE_TIMESCALE);
    Ok(u64::try_from(end.0).unwrap_or(0))
}

fn shown_duration(track: &MovieTrack<'_>, tables: &SampleTables) -> Result<u64, MuxError> {
    if shows_all(track, tables)? {
        media_end(track, tables)
    } else {
        Ok(track.edit.empty.saturating_add(track.edit.duration))
    }
}

fn edit_list(track: &MovieTrack<'_>, tables: &SampleTables) -> Result<Vec<ElstEntry>, MuxError> {
    const NORMAL_RATE: FixedPointNumber<i16, i16> = FixedPointNumber::new(1, 0);
    const NOTHING: i64 = -1;
    if shows_all(track, tables)? {
        return Ok(Vec::new());
    }
    let entry = |edit_duration, media_time| ElstEntry { edit_duration, media_time, media_rate: NORMAL_RATE };
    let empty = (track.edit.empty > 0).then(|| entry(track.edit.empty, NOTHING));
    Ok(empty.into_iter().chain([entry(track.edit.duration, track.edit.media_time)]).collect())
}

/// Tells players to decode some audio before what they show, after a seek or where an edit begins
/// (ISO/IEC 14496-12 §8.9 and §10.1; for Opus required, Opus in ISOBMFF §4.3.6.2).
fn append_roll_groups(
    out: &mut Vec<u8>,
    config: &TrackConfig,
    usual_duration: u64,
    sample_count: u32,
) -> Result<(), MuxError> {
    let packet_len = i64::try_from(usual_duration).map_or(Ticks(i64::MAX), Ticks);
    let packet_len = packet_len.rescale(config.timescale, config.codec.audio_sample_rate().unwrap_or(1));
    let Some(distance) = config.codec.roll_distance(u32::try_from(packet_len.0).unwrap_or(u32::MAX)) else {
        return Ok(());
    };
    full_box(out, *b"sgpd", 1, |out| {
        out.extend(b"roll");
        out.extend(2u32.to_be_bytes()); // default_length
        out.extend(1u32.to_be_bytes()); // entry_count
        out.extend(distance.to_be_bytes());
        Ok(())
    })?;
    full_box(out, *b"sbgp", 0, |out| {
        out.extend(b"roll");
        out.extend(1u32.to_be_bytes()); // entry_count
        out.extend(sample_count.to_be_bytes());
        out.extend(1u32.to_be_bytes()); // group_description_index
        Ok(())
    })
}

/// Appends the header of the `mdat`, with a 64-bit size when the media needs it.
fn append_media_header(out: &mut Vec<u8>, media_len: u64) {
    match u32::try_from(media_len + 8) {
        Ok(size) => {
            out.extend(size.to_be_bytes());
            out.extend(b"mdat");
        }
        Err(_) => {
            out.extend(1u32.to_be_bytes());
            out.extend(b"mdat");
            out.extend((media_len + 16).to_be_bytes());
        }
    }
}
