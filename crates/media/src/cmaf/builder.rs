//! Puts a fragmented file together, segment by segment.
//!
//! Fed with the segments of a recipe, in file order. A segment that the file has as a whole stays the fragment
//! that it is ([`super::file`]); one whose samples differ by what its place decides gets its `moof` when it is read
//! ([`super::remade`]), and what is cut has one from the start.
//! Invariants: the same input gives the same bytes; the samples' bytes are referred to, never copied.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use shiguredo_mp4::{Mp4FileTime, boxes::Brand};

use super::file::{Body, FragmentedMp4, FragmentedParts, StoredFragment};
use super::fragment::{FragmentLayout, FragmentTrack, encode_described};
use super::header::{self, HeadTables};
use super::remade::Remade;
use super::subsegments::{Access, Subsegments};
use crate::{
    boxes::{append_file_type, overflow},
    error::MuxError,
    mp4::{Edit, groups},
    sample::{SampleInfo, Ticks, TrackConfig},
    virtual_file::{Extent, Piece, Pieces, VirtualFile},
};

/// A track of a fragmented file.
#[derive(Debug, Clone, Copy)]
pub struct FragmentedTrack<'a> {
    /// Its number in the file, as stored fragments have it.
    pub track_id: u32,
    /// Its codec and timescale; more than one where the configuration changes on the way. Never empty; all of one
    /// kind and timescale.
    pub configs: &'a [TrackConfig],
    /// The part that is shown; absent: all of it, when its decode times say.
    pub edit: Option<Edit>,
}

/// Samples of one track that lie one after another in a segment.
#[derive(Debug, Clone, Copy)]
pub struct FragmentSpan<'a> {
    /// Index of the track in the file.
    pub track: usize,
    /// Which of the track's configurations decodes them.
    pub config: usize,
    /// Decode time of the first one on the file's clock.
    pub base_dts: Ticks,
    /// Offset of the first one's first byte in the segment.
    pub offset: u64,
    /// In decode order.
    pub samples: &'a [SampleInfo],
}

/// A segment that becomes a fragment as it is.
#[derive(Debug, Clone, Copy)]
pub struct StoredAs<'a> {
    /// Bytes of the segment.
    pub len: u64,
    /// How it was encoded.
    pub layout: &'a FragmentLayout,
    /// Decode times of its tracks on the file's clock, in the order in which the segment has them.
    pub base_dts: &'a [Ticks],
}

/// Puts a fragmented file together. See the module.
#[derive(Debug)]
pub struct FragmentedBuilder<'a> {
    tracks: &'a [FragmentedTrack<'a>],
    in_fragments: Vec<TrackInFragments>,
    created: Mp4FileTime,
    /// Of each track, whether it has got samples of a configuration other than its first.
    is_changed: Vec<bool>,
    head: Vec<HeadTables>,
    head_pieces: Pieces,
    items: Vec<Body>,
    subsegments: Subsegments,
}

/// What the fragments of a track have in common.
#[derive(Debug, Clone)]
pub(super) struct TrackInFragments {
    pub(super) track_id: u32,
    /// Of each of its configurations, what precedes sync samples once that has changed.
    pub(super) sets: Vec<Bytes>,
}

impl<'a> FragmentedBuilder<'a> {
    /// A file of `tracks`, made at `created_unix_s` (seconds since 1970-01-01 00:00 UTC). The first track is the one
    /// that the index of subsegments counts in.
    ///
    /// - Errors: [`MuxError::Empty`] without tracks or for one without a configuration;
    ///   [`MuxError::NoTimescale`].
    pub fn new(tracks: &'a [FragmentedTrack<'a>], created_unix_s: u64) -> Result<Self, MuxError> {
        let first = tracks.first().ok_or(MuxError::Empty { what: "a movie without tracks" })?;
        for track in tracks {
            let config = track.configs.first();
            let config =
                config.ok_or(MuxError::Empty { what: "a track of a movie without a configuration" })?;
            if config.timescale == 0 {
                return Err(MuxError::NoTimescale);
            }
        }
        let in_fragments = tracks.iter().map(|track| TrackInFragments {
            track_id: track.track_id,
            sets: track.configs.iter().map(|config| Bytes::from(config.codec.parameter_sets())).collect(),
        });
        Ok(Self {
            tracks,
            in_fragments: in_fragments.collect(),
            created: Mp4FileTime::from_unix_time(Duration::from_secs(created_unix_s)),
            is_changed: vec![false; tracks.len()],
            head: tracks.iter().map(|_| HeadTables::default()).collect(),
            head_pieces: Pieces::default(),
            items: Vec::new(),
            subsegments: Subsegments::new(
                first.track_id,
                first.configs.first().map_or(1, |config| config.timescale),
            ),
        })
    }

    /// Adds samples that the `moov` describes itself, before all fragments: what an edit list cuts through has to
    /// be there, because FFmpeg, and Chromium with it, do not cut fragments.
    ///
    /// - Errors: [`MuxError::NoSuchTrack`]; [`MuxError::NoSuchConfig`].
    pub fn push_head(&mut self, source: u32, spans: &[FragmentSpan<'_>]) -> Result<(), MuxError> {
        for span in spans {
            self.place(span)?;
            let sets = sets_of(&self.in_fragments, span, self.is_plain(span.track, span.config));
            let offset = self.head_pieces.len();
            let added = append_media(&mut self.head_pieces, source, span, &sets);
            if let Some(tables) = self.head.get_mut(span.track) {
                tables.push_chunk(offset, span.config, &added);
            }
        }
        Ok(())
    }

    /// Begins a subsegment: the first track of the next fragment is shown from `start` on, in its ticks.
    pub fn begin_subsegment(&mut self, start: Ticks, access: Access) {
        self.subsegments.begin(start.0, access);
    }

    /// Adds a stored segment as it is. Tells whether that could be done; else it has to be made.
    pub fn push_stored(&mut self, source: u32, stored: StoredAs<'_>) -> Result<bool, MuxError> {
        let (Ok(len), [first, rest @ ..]) = (u32::try_from(stored.len), stored.base_dts) else {
            return Ok(false);
        };
        let mut places = stored.layout.decode_times.iter().filter_map(|at| u32::try_from(*at).ok());
        let mut time = |dts: &Ticks| Some((places.next()?, u64::try_from(dts.0).ok()?));
        let (first, second) = (time(first), rest.first().and_then(&mut time));
        let Some(first) = first.filter(|_| rest.len() <= 1 && rest.len() == usize::from(second.is_some()))
        else {
            return Ok(false);
        };
        let sequence = self.next_sequence()?;
        self.subsegments.add(stored.len);
        self.items.push(Body::Stored(StoredFragment { source, len, sequence, first, second }));
        Ok(true)
    }

    /// Makes a fragment of samples of one segment, which the file keeps.
    ///
    /// - Errors: [`MuxError::NoSuchTrack`]; [`MuxError::NoSuchConfig`]; those of
    ///   [`crate::cmaf::encode_fragment_head`].
    pub fn push_made(&mut self, source: u32, spans: &[FragmentSpan<'_>]) -> Result<(), MuxError> {
        let (pieces, _) = self.make(source, spans)?;
        self.items.push(Body::Made(pieces));
        Ok(())
    }

    /// Makes a fragment of a segment that is made again when it is read: `spans` is what
    /// [`super::FragmentSamples::read`] gives of `source`, but for the decode times and the length of the last sample of
    /// each.
    ///
    /// - Errors: those of [`FragmentedBuilder::push_made`].
    pub fn push_remade(&mut self, source: u32, spans: &[FragmentSpan<'_>]) -> Result<(), MuxError> {
        let (pieces, sequence) = self.make(source, spans)?;
        let remade = Remade::of(source, pieces.len(), sequence, &self.placed(spans));
        self.items.push(remade.map_or(Body::Made(pieces), Body::Remade));
        Ok(())
    }

    /// A fragment that is the next one, and its number.
    fn make(&mut self, source: u32, spans: &[FragmentSpan<'_>]) -> Result<(Pieces, u32), MuxError> {
        let sequence = self.next_sequence()?;
        spans.iter().try_for_each(|span| self.place(span))?;
        let pieces = make(&self.in_fragments, sequence, source, &self.placed(spans))?;
        self.subsegments.add(pieces.len());
        Ok((pieces, sequence))
    }

    /// Each span, and whether nothing precedes its sync samples.
    fn placed<'s>(&self, spans: &[FragmentSpan<'s>]) -> Vec<(FragmentSpan<'s>, bool)> {
        spans.iter().map(|span| (*span, self.is_plain(span.track, span.config))).collect()
    }

    /// Whether a fragment of the track's `config`th configuration can stay what it is: none that comes after a
    /// change can, as its key frames get their parameter sets.
    pub fn is_plain(&self, track: usize, config: usize) -> bool {
        config == 0 && self.is_changed.get(track) == Some(&false)
    }

    /// Writes the header of a file that is shown for `duration` ticks of [`crate::mp4::MOVIE_TIMESCALE`] and whose last
    /// subsegment is shown until `end`, in ticks of the first track. Fragments that are made again get their samples
    /// from `samples`.
    ///
    /// - Errors: [`MuxError::Empty`] for a file without samples; [`MuxError::NoDimensions`];
    ///   [`MuxError::Overflow`].
    pub fn finish<S>(self, samples: S, duration: u64, end: Ticks) -> Result<FragmentedMp4<S>, MuxError> {
        let is_headless = self.head_pieces.is_empty();
        if is_headless && self.items.is_empty() {
            return Err(MuxError::Empty { what: "a movie without samples" });
        }
        let mut header = Vec::new();
        append_file_type(&mut header, Brand::ISO6, &[Brand::ISO6, Brand::ISOM, Brand::MP41])?;
        // An encoder may send a key frame an hour: all that came since can be before the first picture that is shown.
        let is_large = self.head_pieces.len() > header::SMALL_MAX;
        let places =
            header::append_movie(&mut header, self.tracks, &self.head, is_large, self.created, duration)?;
        let init_len = header.len() as u64;
        let mdat_header = mdat_header(self.head_pieces.len(), is_large)?;
        let mdat_header_len = mdat_header.len() as u64;
        let head_len = if is_headless { 0 } else { self.head_pieces.len() + mdat_header_len };
        self.subsegments.append(&mut header, head_len, end.0)?;
        header::fill_in(&mut header, &places, mdat_header_len)?;
        let mut items = Vec::with_capacity(self.items.len() + 1);
        if !is_headless {
            let mut pieces = Pieces::default();
            pieces.push(Piece::Bytes(Bytes::from(mdat_header)));
            pieces.extend(self.head_pieces);
            items.push(Body::Made(pieces));
        }
        items.extend(self.items);
        let parts = FragmentedParts {
            header: Bytes::from(header),
            init_len,
            tracks: self.in_fragments,
            items,
            fragments_from: usize::from(!is_headless),
        };
        Ok(FragmentedMp4::new(parts, samples))
    }

    fn next_sequence(&self) -> Result<u32, MuxError> {
        let number = self.items.len() as u64 + 1;
        u32::try_from(number).map_err(|_| overflow("mfhd sequence_number", number, u64::from(u32::MAX)))
    }

    /// Checks where a span belongs and takes note of its configuration.
    fn place(&mut self, span: &FragmentSpan<'_>) -> Result<(), MuxError> {
        let tracks = self.tracks.len();
        let Some(track) = self.tracks.get(span.track) else {
            return Err(MuxError::NoSuchTrack { track: span.track, tracks });
        };
        if span.config >= track.configs.len() {
            return Err(MuxError::NoSuchConfig { config: span.config, configs: track.configs.len() });
        }
        if let Some(is_changed) = self.is_changed.get_mut(span.track) {
            *is_changed |= span.config > 0;
        }
        Ok(())
    }
}

/// What precedes the sync samples of a span: the parameter sets of its own configuration once that has changed, for
/// players that keep to the first sample entry.
fn sets_of(tracks: &[TrackInFragments], span: &FragmentSpan<'_>, is_plain: bool) -> Bytes {
    let sets = tracks.get(span.track).and_then(|track| track.sets.get(span.config));
    sets.filter(|_| !is_plain).cloned().unwrap_or_default()
}

/// A fragment: its head, and where its media is. With each span, whether nothing precedes its sync samples.
pub(super) fn make(
    tracks: &[TrackInFragments],
    sequence: u32,
    source: u32,
    spans: &[(FragmentSpan<'_>, bool)],
) -> Result<Pieces, MuxError> {
    let mut media = Pieces::default();
    let placed: Vec<_> = spans
        .iter()
        .map(|(span, is_plain)| append_media(&mut media, source, span, &sets_of(tracks, span, *is_plain)))
        .collect();
    let fragments = spans.iter().zip(&placed).filter_map(|((span, _), samples)| {
        let track = tracks.get(span.track)?;
        let fragment = FragmentTrack { track_id: track.track_id, base_dts: span.base_dts, samples };
        let description = u32::try_from(span.config).unwrap_or(u32::MAX).saturating_add(1);
        Some((fragment, (span.config > 0).then_some(description)))
    });
    let head = encode_described(sequence, &fragments.collect::<Vec<_>>())?;
    let mut pieces = Pieces::default();
    pieces.push(Piece::Bytes(Bytes::from(head.bytes)));
    pieces.extend(media);
    Ok(pieces)
}

/// What precedes `len` bytes of media (ISO/IEC 14496-12 §4.2.2).
fn mdat_header(len: u64, is_large: bool) -> Result<Vec<u8>, MuxError> {
    if is_large {
        return Ok([&[0, 0, 0, 1], b"mdat".as_slice(), &(len + 16).to_be_bytes()].concat());
    }
    let size = u32::try_from(len + 8).map_err(|_| overflow("mdat size", len, u64::from(u32::MAX)))?;
    Ok([size.to_be_bytes(), *b"mdat"].concat())
}

/// Appends the bytes of a span, with `sets` in front of each sync sample, and returns its samples as the file has
/// them.
fn append_media<'s>(
    pieces: &mut Pieces,
    source: u32,
    span: &FragmentSpan<'s>,
    sets: &Bytes,
) -> Cow<'s, [SampleInfo]> {
    if sets.is_empty() {
        let len = span.samples.iter().map(|sample| u64::from(sample.size)).sum();
        pieces.push(Piece::Extent(Extent { source, offset: span.offset, len }));
        return Cow::Borrowed(span.samples);
    }
    let inserted = u32::try_from(sets.len()).unwrap_or(u32::MAX);
    let mut offset = span.offset;
    for group in groups(span.samples.iter().map(|sample| (sample.size, sample.is_sync)), inserted) {
        if group.inserted > 0 {
            pieces.push(Piece::Bytes(sets.clone()));
        }
        pieces.push(Piece::Extent(Extent { source, offset, len: group.len }));
        offset += group.len;
    }
    let grown = |sample: &SampleInfo| SampleInfo {
        size: if sample.is_sync { sample.size.saturating_add(inserted) } else { sample.size },
        ..*sample
    };
    Cow::Owned(span.samples.iter().map(grown).collect())
}
