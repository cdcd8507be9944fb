//! What an independent parser reads in a file, and what a player shows of it.

use std::ops::Range;

use mediahooks_media::cmaf::parse_fragment;
use mediahooks_media::virtual_file::{Extent, Piece, VirtualFile};
use mediahooks_testkit::player;
use mediahooks_timeline::movie::{BuiltFragments, BuiltMovie, MovieSource};
use mediahooks_timeline::segmenter::RUN_ORIGIN_US;
use mp4_atom::{FourCC, Moov, ReadFrom};

/// The file's `moov`, read by an independent parser, and its `mdat`.
pub fn materialise(movie: &BuiltMovie, stored: &[Vec<u8>]) -> (Moov, Vec<u8>, Vec<u8>) {
    let file = whole(movie.file.as_ref(), stored);
    let moov = player::moov(&file);
    let mut reader = file.as_slice();
    while let Ok(header) = mp4_atom::Header::read_from(&mut reader) {
        if header.kind == FourCC::new(b"mdat") {
            break;
        }
        reader = &reader[header.size.unwrap_or(0)..];
    }
    let mdat = reader.to_vec();
    moov.trak.iter().for_each(|trak| media_covers_edits(&moov, trak));
    (moov, mdat, file)
}

/// Asserts that a track has as much media as its edits show.
fn media_covers_edits(moov: &Moov, trak: &mp4_atom::Trak) {
    let table = &trak.mdia.minf.stbl;
    let durations = table.stts.entries.iter();
    let sum: u64 = durations.map(|entry| u64::from(entry.sample_count) * u64::from(entry.sample_delta)).sum();
    if moov.mvex.is_some() {
        // There is more of it in fragments.
        return;
    }
    assert_eq!(trak.mdia.mdhd.duration, sum);
    let Some(list) = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref()) else { return };
    let offsets = table.ctts.iter().flat_map(|ctts| &ctts.entries);
    let mut offsets =
        offsets.flat_map(|entry| std::iter::repeat_n(entry.sample_offset, entry.sample_count as usize));
    let deltas = table.stts.entries.iter();
    let deltas = deltas
        .flat_map(|entry| std::iter::repeat_n(i64::from(entry.sample_delta), entry.sample_count as usize));
    let (mut dts, mut end) = (0, 0);
    for delta in deltas {
        end = (dts + delta + offsets.next().unwrap_or(0)).max(end);
        dts += delta;
    }
    let (movie, media) = (u64::from(moov.mvhd.timescale), u64::from(trak.mdia.mdhd.timescale));
    for edit in list.entries.iter().filter(|edit| edit.media_time.is_some()) {
        // Rounded down, and from a clock that is rounded itself.
        let shown = edit.segment_duration * media / movie;
        assert!(sum + 1 >= shown, "{sum} ticks of media for an edit of {shown}");
        let until = edit.media_time.unwrap_or(0) + shown;
        assert!(end as u64 + 1 >= until, "samples last until {end}, an edit until {until}");
    }
}

/// The bytes of a file.
pub fn whole(file: &dyn VirtualFile, stored: &[Vec<u8>]) -> Vec<u8> {
    part(file, 0..file.len(), stored)
}

/// The bytes of a range of a file.
pub fn part(file: &dyn VirtualFile, range: Range<u64>, stored: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while range.start + (bytes.len() as u64) < range.end {
        match file.piece(range.start + bytes.len() as u64..range.end).unwrap() {
            Piece::Bytes(generated) => bytes.extend(generated),
            Piece::Extent(Extent { source, offset, len }) => {
                bytes.extend_from_slice(&stored[source as usize][offset as usize..][..len as usize]);
            }
        }
    }
    bytes
}

/// Presentation times in ms of the frames that a player shows of the picture track, worked out from
/// the boxes, and their bytes.
pub fn shown(movie: &BuiltMovie, stored: &[Vec<u8>]) -> Vec<(i64, String)> {
    of_track(movie, stored, 0)
}

/// As [`shown`], of the sound beside it.
pub fn heard(movie: &BuiltMovie, stored: &[Vec<u8>]) -> Vec<(i64, String)> {
    of_track(movie, stored, 1)
}

fn of_track(movie: &BuiltMovie, stored: &[Vec<u8>], track: usize) -> Vec<(i64, String)> {
    let (moov, _, file) = materialise(movie, stored);
    let text = |shown: player::Shown| String::from_utf8_lossy(&file[shown.place]).into_owned();
    player::shown(&moov, &moov.trak[track]).into_iter().map(|shown| (shown.at_ms, text(shown))).collect()
}

/// Offset and length of the boxes of a type at the top of a file.
pub fn boxes(file: &[u8], of_type: [u8; 4]) -> Vec<(usize, usize)> {
    let (mut at, mut found) = (0, Vec::new());
    while at < file.len() {
        let len = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        if file[at + 4..at + 8] == of_type {
            found.push((at, len));
        }
        at += len;
    }
    assert_eq!(at, file.len(), "boxes fill the file");
    found
}

/// Who shows a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Player {
    /// Cuts all samples by the edit list.
    Exact,
    /// Cuts only those in the `moov`, as FFmpeg does. It does not show the samples of a fragment that are decoded no
    /// later than the last one before it.
    Ffmpeg,
}

/// Presentation times in ms and the bytes of the pictures that a player shows.
pub fn shown_of(built: &BuiltFragments, stored: &[Vec<u8>], player: Player) -> Vec<(i64, String)> {
    let (moov, _, file) = materialise(&built.movie, stored);
    let mut frames = shown(&built.movie, stored);
    let trak = &moov.trak[0];
    let (mut skip, mut from, mut length) = (0, 0, i64::MAX);
    for entry in trak.edts.iter().filter_map(|edts| edts.elst.as_ref()).flat_map(|list| &list.entries) {
        match entry.media_time {
            None => skip = entry.segment_duration as i64,
            Some(media_time) => (from, length) = (media_time as i64, entry.segment_duration as i64),
        }
    }
    let steps = trak.mdia.minf.stbl.stts.entries.iter();
    let steps = steps.map(|entry| (i64::from(entry.sample_count), i64::from(entry.sample_delta)));
    let mut last_dts = steps.fold(None, |last: Option<i64>, (count, delta)| {
        Some(last.map_or((count - 1) * delta, |last| last + count * delta))
    });
    for (number, (at, _)) in (1..).zip(boxes(&file, *b"moof")) {
        let fragment = parse_fragment(&file[at..]).unwrap();
        assert_eq!(fragment.sequence_number, number);
        for track in fragment.tracks.iter().filter(|track| track.track_id == trak.tkhd.track_id) {
            let (mut dts, mut place) = (track.base_dts.0, at + track.data_offset as usize);
            let before = last_dts;
            for sample in &track.samples {
                let pts = dts + i64::from(sample.cts_offset);
                let text = String::from_utf8_lossy(&file[place..place + sample.size as usize]).into_owned();
                let is_shown = match player {
                    Player::Exact => pts >= from && pts - from < length,
                    Player::Ffmpeg => before.is_none_or(|before| dts > before),
                };
                if is_shown {
                    frames.push(((pts - from + skip) / 90, text));
                }
                last_dts = Some(dts);
                dts += i64::from(sample.duration);
                place += sample.size as usize;
            }
        }
    }
    frames.sort();
    frames
}

/// `source`, cut from `from_ms` to `to_ms` after the run's first sample.
pub fn range(mut source: MovieSource, from_ms: i64, to_ms: i64) -> MovieSource {
    for stretch in &mut source.stretches {
        stretch.start_us = Some(RUN_ORIGIN_US + from_ms * 1000);
        stretch.stop_us = Some(RUN_ORIGIN_US + to_ms * 1000);
    }
    source
}
