//! Lays out a movie: adds up what the sample tables of its tracks will hold, and places its chunks in the file.
//!
//! Fed chunk by chunk, in file order, with summaries of their samples. Nothing here depends on anything but its
//! arguments, so a movie laid out again is the same to the byte.

use std::{ops::Range, sync::Mutex, time::Duration};

use shiguredo_mp4::{Mp4FileTime, boxes::Brand};

use super::{
    MOVIE_TIMESCALE,
    chunks::{Chunks, Pushed},
    file::{STEP_CHUNKS, STEP_SAMPLES, Skeleton, Step, VirtualMp4},
    summary::{ChunkSummary, Column, SampleSource},
    tables::{Table, Totals, TrackState},
};
use crate::{
    boxes::{
        Output, TrackHeader, append_file_type, append_movie_header, append_track, container, edit_list,
        full_box, overflow,
    },
    error::MuxError,
    sample::{Ticks, TrackConfig},
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
pub struct Chunk {
    /// Index of the track in the movie.
    pub track: usize,
    /// Which of the track's configurations decodes the samples.
    pub config: usize,
    /// The caller's number of the file that holds the samples.
    pub source: u32,
    /// Offset of the first sample's first byte in it.
    pub offset: u64,
    /// The samples, in decode order, following those of the track's previous chunk.
    pub samples: ChunkSummary,
}

/// More bytes than there can be, and few enough that nothing that is counted with them overflows: only a damaged
/// summary tells of more.
const BYTES_MAX: u64 = 1 << 62;

/// Lays out a movie chunk by chunk.
#[derive(Debug)]
pub struct MovieBuilder<'a, S> {
    tracks: Vec<Track<'a>>,
    /// All parameter sets that may be needed, one behind the other.
    inserted: Vec<u8>,
    created: Mp4FileTime,
    chunks: Chunks<S>,
    steps: Vec<Step>,
    /// Samples since the last of them.
    since_step: u64,
}

/// A track of the movie, as far as it has come.
#[derive(Debug)]
struct Track<'a> {
    movie: MovieTrack<'a>,
    state: TrackState,
    totals: Totals,
    /// Of each of its configurations, the parameter sets in [`MovieBuilder::inserted`].
    sets: Vec<Range<usize>>,
    /// Whether it has got samples of a configuration other than its first.
    is_changed: bool,
}

impl<'a, S: SampleSource> MovieBuilder<'a, S> {
    /// A movie of `tracks` whose samples are read from `samples`, made at `created_unix_s` (seconds since
    /// 1970-01-01 00:00 UTC).
    ///
    /// - Errors: [`MuxError::Empty`] without tracks; [`MuxError::NegativeTime`] for an edit that starts
    ///   before its media; [`MuxError::NoTimescale`].
    pub fn new(tracks: &[MovieTrack<'a>], created_unix_s: u64, samples: S) -> Result<Self, MuxError> {
        if tracks.is_empty() {
            return Err(MuxError::Empty { what: "a movie without tracks" });
        }
        for track in tracks {
            edit_list(&track.edit)?;
            if track.config()?.timescale == 0 {
                return Err(MuxError::NoTimescale);
            }
        }
        let mut inserted = Vec::new();
        let mut sets_of = |config: &TrackConfig| {
            let begin = inserted.len();
            inserted.extend(config.codec.parameter_sets());
            begin..inserted.len()
        };
        let mut sets = |configs: &[TrackConfig]| match configs {
            [_] => Vec::new(),
            several => several.iter().map(&mut sets_of).collect(),
        };
        let begun = |movie: &MovieTrack<'a>| Track {
            movie: *movie,
            state: TrackState::default(),
            totals: Totals::default(),
            sets: sets(movie.configs),
            is_changed: false,
        };
        Ok(Self {
            tracks: tracks.iter().map(begun).collect(),
            inserted,
            created: Mp4FileTime::from_unix_time(Duration::from_secs(created_unix_s)),
            chunks: Chunks { samples, pushed: Vec::new(), media_len: 0 },
            steps: vec![Step { chunk: 0, states: vec![TrackState::default(); tracks.len()] }],
            since_step: 0,
        })
    }

    /// Where the samples are read from, for what has to be known there of a chunk before it is pushed.
    pub fn samples(&mut self) -> &mut S {
        &mut self.chunks.samples
    }

    /// Appends a chunk to the file and its samples to their track. A chunk without samples adds
    /// nothing, and is not counted.
    ///
    /// Where the configuration has changed, each sync sample is preceded by the parameter sets of its
    /// own: players that keep to the first sample entry can go on with those.
    ///
    /// - Errors: [`MuxError::NoSuchTrack`]; [`MuxError::NoSuchConfig`]; [`MuxError::Overflow`] past 2^32
    ///   samples of a track, or 2^62 bytes; [`MuxError::Unreadable`].
    pub fn push(&mut self, chunk: &Chunk) -> Result<(), MuxError> {
        let tracks = self.tracks.len();
        let no_track = MuxError::NoSuchTrack { track: chunk.track, tracks };
        let track = self.tracks.get_mut(chunk.track).ok_or(no_track)?;
        let configs = track.movie.configs.len();
        if chunk.config >= configs {
            return Err(MuxError::NoSuchConfig { config: chunk.config, configs });
        }
        let mut samples = chunk.samples;
        if samples.samples == 0 {
            return Ok(());
        }
        let max = u64::from(u32::MAX);
        let count = u64::from(track.state.samples) + u64::from(samples.samples);
        u32::try_from(count).map_err(|_| overflow("sample count", count, max))?;
        track.is_changed |= chunk.config > 0;
        let sets = track.sets.get(chunk.config).filter(|_| track.is_changed).map_or(0, Range::len);
        let number = self.chunks.pushed.len();
        let small = |what, value: usize| {
            u16::try_from(value).map_err(|_| overflow(what, value as u64, u64::from(u16::MAX)))
        };
        self.chunks.pushed.push(Pushed {
            media_start: self.chunks.media_len,
            offset: chunk.offset,
            source: chunk.source,
            samples: samples.samples,
            track: small("track count", chunk.track)?,
            config: small("sample description count", chunk.config)?,
            inserted: u32::try_from(sets).map_err(|_| overflow("parameter sets", sets as u64, max))?,
        });
        if sets > 0 {
            insert(&self.chunks, number, &mut samples)?;
        }
        for (field, begins) in [("mdat size", self.chunks.media_len), ("chunk offset", chunk.offset)] {
            let end = begins.saturating_add(samples.bytes);
            if end > BYTES_MAX {
                return Err(overflow(field, end, BYTES_MAX));
            }
        }
        self.chunks.media_len += samples.bytes;
        track.totals.append(&samples);
        track.state.append(&samples);
        let description = u32::from(self.chunks.pushed[number].config) + 1;
        if sets == 0 {
            track.state.push_chunk(samples.samples, description);
        } else {
            for group in self.chunks.groups(number)? {
                track.state.push_chunk(group.samples, description);
            }
        }
        self.since_step += u64::from(samples.samples);
        let chunks = self.chunks.pushed.len() - self.steps.last().map_or(0, |step| step.chunk);
        if chunks >= STEP_CHUNKS || self.since_step >= STEP_SAMPLES {
            self.keep_states();
        }
        Ok(())
    }

    fn keep_states(&mut self) {
        let states = self.tracks.iter().map(|track| track.state).collect();
        self.steps.push(Step { chunk: self.chunks.pushed.len(), states });
        self.since_step = 0;
    }

    /// Plans the header.
    ///
    /// - Errors: [`MuxError::Empty`] for a track that got no samples; [`MuxError::NoDimensions`];
    ///   [`MuxError::Overflow`] for an index of 4 GiB.
    pub fn finish(mut self) -> Result<VirtualMp4<S>, MuxError> {
        if self.tracks.iter().any(|track| track.state.samples == 0) {
            return Err(MuxError::Empty { what: "a track of a movie without samples" });
        }
        self.keep_states();
        self.chunks.pushed.shrink_to_fit();
        let is_changed = self.tracks.iter().any(|track| track.is_changed);
        let inserted = if is_changed { self.inserted } else { Vec::new() };
        let media_len = self.chunks.media_len;
        let header_len = header_len_at_most(&self.tracks)? + inserted.len() as u64;
        let wide_offsets = header_len + media_len > u64::from(u32::MAX);
        let mut header = Skeleton::default();
        append_file_type(&mut header, Brand::ISOM, &[Brand::ISOM, Brand::ISO2, Brand::ISO6, Brand::MP41])?;
        append_movie(&mut header, &self.tracks, self.created, wide_offsets)?;
        append_media_header(&mut header, media_len + inserted.len() as u64);
        let begin = header.written().len();
        header.put(&inserted);
        let placed = |sets: &Range<usize>| begin + sets.start..begin + sets.end;
        let sets = self.tracks.iter().map(|track| track.sets.iter().map(placed).collect()).collect();
        Ok(VirtualMp4 {
            chunks: self.chunks,
            steps: self.steps,
            header,
            sets,
            latest_parts: Mutex::default(),
        })
    }
}

/// Counts what is inserted before the sync samples of a chunk.
fn insert<S: SampleSource>(
    chunks: &Chunks<S>,
    number: usize,
    samples: &mut ChunkSummary,
) -> Result<(), MuxError> {
    let sizes = chunks.read(number, Column::Size)?;
    samples.bytes = sizes.iter().map(|size| u64::from(*size)).sum();
    samples.size_min = sizes.iter().copied().min().unwrap_or(0);
    samples.size_max = sizes.iter().copied().max().unwrap_or(0);
    Ok(())
}

/// An upper bound of the header's length: the width of offsets is chosen before it is known.
fn header_len_at_most(tracks: &[Track<'_>]) -> Result<u64, MuxError> {
    // `ftyp`, `mvhd` and the head of `mdat` once; of a track, all boxes but its tables and its record.
    const FIXED: u64 = 512;
    const PER_TRACK: u64 = 1024;
    let mut len = FIXED;
    for track in tracks {
        len += PER_TRACK + track.state.len_at_most();
        for config in track.movie.configs {
            len += shiguredo_mp4::Encode::encode_to_vec(&config.sample_entry()?)?.len() as u64;
        }
    }
    Ok(len)
}

fn append_movie(
    out: &mut Skeleton,
    tracks: &[Track<'_>],
    created: Mp4FileTime,
    wide_offsets: bool,
) -> Result<(), MuxError> {
    container(out, *b"moov", |out| {
        let mut longest = 0;
        for track in tracks {
            longest = longest.max(shown_duration(track)?);
        }
        append_movie_header(out, created, longest, track_id(tracks.len()))?;
        for (number, track) in tracks.iter().enumerate() {
            let header = TrackHeader {
                track_id: track_id(number),
                configs: track.movie.configs,
                created,
                movie_duration: shown_duration(track)?,
                media_duration: track.totals.media_duration,
                edits: if shows_all(track)? { Vec::new() } else { edit_list(&edit(track)?)? },
            };
            append_track(out, header, |out| {
                append_tables(out, number, track, wide_offsets)?;
                append_roll_groups(out, track)
            })?;
        }
        Ok(())
    })
}

/// Appends the sample tables to a `stbl`, without their entries.
fn append_tables(
    out: &mut Skeleton,
    number: usize,
    track: &Track<'_>,
    wide_offsets: bool,
) -> Result<(), MuxError> {
    let Track { state, totals, .. } = track;
    let mut table = |box_type, version, table| {
        full_box(out, box_type, version, |out: &mut Skeleton| {
            out.put(&state.count(table).to_be_bytes());
            out.leave_out(number, table, state.count(table));
            Ok(())
        })
    };
    table(*b"stts", 0, Table::Durations)?;
    if totals.has_offsets() {
        table(*b"ctts", totals.offsets_version(), Table::Offsets)?;
    }
    if state.sync_samples < state.samples {
        table(*b"stss", 0, Table::SyncSamples)?;
    }
    table(*b"stsc", 0, Table::ChunkRuns)?;
    full_box(out, *b"stsz", 0, |out| {
        let common = totals.common_size();
        out.put(&common.unwrap_or(0).to_be_bytes());
        out.put(&state.samples.to_be_bytes());
        out.leave_out(number, Table::Sizes, if common.is_some() { 0 } else { state.samples });
        Ok(())
    })?;
    let (box_type, table) =
        if wide_offsets { (*b"co64", Table::WideChunkOffsets) } else { (*b"stco", Table::ChunkOffsets) };
    full_box(out, box_type, 0, |out| {
        out.put(&state.chunks.to_be_bytes());
        out.leave_out(number, table, state.chunks);
        Ok(())
    })
}

fn track_id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}

/// True when the edit leaves the media as it is without one. One that is longer than the samples are in decode order does,
/// too, where the last of these are shown for longer: an edit list must not show more than there is.
fn shows_all(track: &Track<'_>) -> Result<bool, MuxError> {
    let Edit { empty, media_time, duration } = track.movie.edit;
    let media = i64::try_from(track.totals.media_duration).unwrap_or(i64::MAX);
    let media = Ticks(media).rescale(track.movie.config()?.timescale, MOVIE_TIMESCALE).0;
    let is_longer = i64::try_from(duration).is_ok_and(|duration| duration > media);
    Ok(empty == 0 && media_time == 0 && (is_longer || duration >= media_end(track)?))
}

/// The edit of a track, which shows no more than there is: where pictures are left out that are shown before the last ones,
/// it may be asked for a tick or a millisecond too long.
fn edit(track: &Track<'_>) -> Result<Edit, MuxError> {
    let edit = track.movie.edit;
    let begin = Ticks(edit.media_time).rescale(track.movie.config()?.timescale, MOVIE_TIMESCALE).0;
    let most = media_end(track)?.saturating_sub(u64::try_from(begin).unwrap_or(0));
    Ok(Edit { duration: edit.duration.min(most), ..edit })
}

/// When the media ends without an edit, in ticks of the movie.
fn media_end(track: &Track<'_>) -> Result<u64, MuxError> {
    let timescale = track.movie.config()?.timescale;
    let end = Ticks(track.totals.composition_end).rescale(timescale, MOVIE_TIMESCALE);
    Ok(u64::try_from(end.0).unwrap_or(0))
}

fn shown_duration(track: &Track<'_>) -> Result<u64, MuxError> {
    if shows_all(track)? {
        media_end(track)
    } else {
        let Edit { empty, duration, .. } = edit(track)?;
        Ok(empty.saturating_add(duration))
    }
}

/// Tells players to decode some audio before what they show, after a seek or where an edit begins
/// (ISO/IEC 14496-12 §8.9 and §10.1; for Opus required, Opus in ISOBMFF §4.3.6.2).
fn append_roll_groups(out: &mut Skeleton, track: &Track<'_>) -> Result<(), MuxError> {
    let config = track.movie.config()?;
    let sample_count = track.state.samples;
    let usual_duration = track.totals.media_duration / u64::from(sample_count.max(1));
    let packet_len = i64::try_from(usual_duration).map_or(Ticks(i64::MAX), Ticks);
    let packet_len = packet_len.rescale(config.timescale, config.codec.audio_sample_rate().unwrap_or(1));
    let Some(distance) = config.codec.roll_distance(u32::try_from(packet_len.0).unwrap_or(u32::MAX)) else {
        return Ok(());
    };
    full_box(out, *b"sgpd", 1, |out| {
        out.put(b"roll");
        out.put(&2u32.to_be_bytes()); // default_length
        out.put(&1u32.to_be_bytes()); // entry_count
        out.put(&distance.to_be_bytes());
        Ok(())
    })?;
    full_box(out, *b"sbgp", 0, |out| {
        out.put(b"roll");
        out.put(&1u32.to_be_bytes()); // entry_count
        out.put(&sample_count.to_be_bytes());
        out.put(&1u32.to_be_bytes()); // group_description_index
        Ok(())
    })
}

/// Appends the header of the `mdat`, with a 64-bit size when the media needs it.
fn append_media_header(out: &mut Skeleton, media_len: u64) {
    match u32::try_from(media_len + 8) {
        Ok(size) => {
            out.put(&size.to_be_bytes());
            out.put(b"mdat");
        }
        Err(_) => {
            out.put(&1u32.to_be_bytes());
            out.put(b"mdat");
            out.put(&(media_len + 16).to_be_bytes());
        }
    }
}
