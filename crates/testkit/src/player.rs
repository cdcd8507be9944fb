//! What a player shows of an MP4, worked out from the boxes that an independent parser reads.
//!
//! Of plain files, whose samples are described by the `moov`. Players that ignore edit lists are not meant.

use std::iter::repeat_n;
use std::ops::Range;

use mp4_atom::{Atom, FourCC, Moov, ReadAtom, ReadFrom, Stbl, StszSamples, Trak};

/// A sample as a player shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// From when on, in milliseconds (rounded down) of the player's clock.
    pub at_ms: i64,
    /// Until when, by its own duration.
    pub until_ms: i64,
    /// Its number among those of the track, from 1.
    pub number: u32,
    /// Whether decoding can begin with it.
    pub is_sync: bool,
    /// Where it lies in the file.
    pub place: Range<usize>,
}

/// The file's `moov`.
pub fn moov(file: &[u8]) -> Moov {
    let mut reader = file;
    loop {
        let header = mp4_atom::Header::read_from(&mut reader).expect("the header of a box");
        if header.kind == Moov::KIND {
            return Moov::read_atom(&header, &mut reader).expect("a moov");
        }
        let size = header.size.expect("a moov before a box of unknown size");
        reader = reader.get(size..).expect("a moov");
    }
}

/// What a player shows of a track, in the order of time. Pictures that begin before the edit are not shown; sound is,
/// from the edit on.
pub fn shown(moov: &Moov, track: &Trak) -> Vec<Shown> {
    let table = &track.mdia.minf.stbl;
    let sizes = sizes(table);
    let durations = table.stts.entries.iter();
    let durations =
        durations.flat_map(|entry| repeat_n(i64::from(entry.sample_delta), entry.sample_count as usize));
    let offsets: Vec<i64> = match &table.ctts {
        Some(ctts) => {
            let entries = ctts.entries.iter();
            entries.flat_map(|entry| repeat_n(entry.sample_offset, entry.sample_count as usize)).collect()
        }
        None => vec![0; sizes.len()],
    };
    let timescale = i64::from(track.mdia.mdhd.timescale);
    let is_picture = track.mdia.hdlr.handler == FourCC::new(b"vide");
    let (skip, from, length) = edit(moov, track);
    let places = places(table, &sizes);
    let mut dts = 0;
    let mut shown = Vec::new();
    for (((number, place), duration), offset) in (1..).zip(places).zip(durations).zip(offsets) {
        let pts = dts + offset;
        dts += duration;
        let is_shown = pts + duration > from && pts - from < length;
        if !is_shown || (is_picture && pts < from) {
            continue;
        }
        shown.push(Shown {
            at_ms: (pts - from + skip).max(skip) * 1000 / timescale,
            until_ms: (pts + duration - from + skip) * 1000 / timescale,
            number,
            is_sync: table.stss.as_ref().is_none_or(|stss| stss.entries.contains(&number)),
            place,
        });
    }
    shown.sort_by_key(|shown: &Shown| (shown.at_ms, shown.until_ms, shown.number));
    shown
}

/// How long nothing is shown, the presentation time from which on the media is, and for how long, in ticks of the
/// track.
fn edit(moov: &Moov, track: &Trak) -> (i64, i64, i64) {
    let timescale = i128::from(track.mdia.mdhd.timescale);
    let to_media = |ticks: u64| (i128::from(ticks) * timescale / i128::from(moov.mvhd.timescale)) as i64;
    let (mut skip, mut from, mut length) = (0, 0, i64::MAX);
    for entry in track.edts.iter().flat_map(|edts| &edts.elst).flat_map(|list| &list.entries) {
        match entry.media_time {
            None => skip = to_media(entry.segment_duration),
            Some(media_time) => (from, length) = (media_time as i64, to_media(entry.segment_duration)),
        }
    }
    (skip, from, length)
}

fn sizes(table: &Stbl) -> Vec<u32> {
    match &table.stsz.samples {
        StszSamples::Different { sizes } => sizes.clone(),
        StszSamples::Identical { count, size } => vec![*size; *count as usize],
    }
}

/// Where each of the samples, which have these `sizes`, lies in the file.
pub fn places(table: &Stbl, sizes: &[u32]) -> Vec<Range<usize>> {
    let starts: Vec<u64> = match (&table.stco, &table.co64) {
        (Some(stco), _) => stco.entries.iter().map(|&entry| u64::from(entry)).collect(),
        (_, Some(co64)) => co64.entries.clone(),
        _ => panic!("no chunk offsets"),
    };
    let mut sizes = sizes.iter();
    let mut places = Vec::new();
    for (number, start) in (1u32..).zip(starts) {
        let entries = &table.stsc.entries;
        let of_chunk = entries.iter().rev().find(|entry| entry.first_chunk <= number);
        let mut place = start as usize;
        for size in sizes.by_ref().take(of_chunk.expect("a chunk's samples").samples_per_chunk as usize) {
            let end = place + *size as usize;
            places.push(place..end);
            place = end;
        }
    }
    places
}
