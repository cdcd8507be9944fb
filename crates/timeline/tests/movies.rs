//! Files built from sample tables: what is held, what is shown.

mod common;

use common::{Publisher, audio_config, video_config};
use mediahooks_media::mp4::{Extent, Slice};
use mediahooks_timeline::movie::{BuiltMovie, MovieError, MovieSource, build};
use mediahooks_timeline::segmenter::RUN_ORIGIN_US;
use mp4_atom::{Atom, FourCC, Moov, ReadAtom, ReadFrom};
use proptest::prelude::*;

/// The file's `moov`, read by an independent parser, and its `mdat`.
fn materialise(movie: &BuiltMovie, stored: &[Vec<u8>]) -> (Moov, Vec<u8>, Vec<u8>) {
    let mut file = Vec::new();
    for slice in movie.file.slices(0..movie.file.len) {
        match slice {
            Slice::Header(range) => file.extend_from_slice(&movie.file.header[range]),
            Slice::Extent(Extent { source, offset, len }) => {
                let (from, to) = (offset as usize, (offset + len) as usize);
                file.extend_from_slice(&stored[source as usize][from..to]);
            }
        }
    }
    assert_eq!(file.len() as u64, movie.file.len);
    let mut reader = file.as_slice();
    let mut moov = None;
    while let Ok(header) = mp4_atom::Header::read_from(&mut reader) {
        if header.kind == Moov::KIND {
            moov = Some(Moov::read_atom(&header, &mut reader).unwrap());
        } else if header.kind == FourCC::new(b"mdat") {
            break;
        } else {
            reader = &reader[header.size.unwrap_or(0)..];
        }
    }
    let mdat = reader.to_vec();
    (moov.expect("moov before mdat"), mdat, file)
}

/// Presentation times in ms of the frames that a player shows of the picture track, worked out from
/// the boxes, and their bytes.
fn shown(movie: &BuiltMovie, stored: &[Vec<u8>]) -> Vec<(i64, String)> {
    let (moov, _, file) = materialise(movie, stored);
    let trak = &moov.trak[0];
    let table = &trak.mdia.minf.stbl;
    let sizes: Vec<u32> = match &table.stsz.samples {
        mp4_atom::StszSamples::Different { sizes } => sizes.clone(),
        mp4_atom::StszSamples::Identical { count, size } => vec![*size; *count as usize],
    };
    let durations =
        table.stts.entries.iter().flat_map(|entry| {
            std::iter::repeat_n(i64::from(entry.sample_delta), entry.sample_count as usize)
        });
    let offsets: Vec<i64> = match &table.ctts {
        Some(ctts) => ctts
            .entries
            .iter()
            .flat_map(|entry| std::iter::repeat_n(entry.sample_offset, entry.sample_count as usize))
            .collect(),
        None => vec![0; sizes.len()],
    };
    let (mut skip, mut from, mut length) = (0, 0, i64::MAX);
    if let Some(list) = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref()) {
        for entry in &list.entries {
            match entry.media_time {
                None => skip = entry.segment_duration as i64,
                Some(media_time) => (from, length) = (media_time as i64, entry.segment_duration as i64),
            }
        }
    }
    let mut dts = 0;
    let mut frames = Vec::new();
    let mut places = chunk_places(table, &sizes).into_iter();
    for ((size, duration), offset) in sizes.iter().zip(durations).zip(offsets) {
        let place = places.next().unwrap() as usize;
        let pts = dts + offset;
        if pts >= from && pts - from < length {
            let text = String::from_utf8_lossy(&file[place..place + *size as usize]).into_owned();
            frames.push(((pts - from + skip) / 90, text));
        }
        dts += duration;
    }
    frames.sort();
    frames
}

/// Where each sample's bytes begin in the file.
fn chunk_places(table: &mp4_atom::Stbl, sizes: &[u32]) -> Vec<u64> {
    let starts: Vec<u64> = match (&table.stco, &table.co64) {
        (Some(stco), _) => stco.entries.iter().map(|&entry| u64::from(entry)).collect(),
        (_, Some(co64)) => co64.entries.clone(),
        _ => panic!("no chunk offsets"),
    };
    let mut places = Vec::new();
    let entries = &table.stsc.entries;
    for (number, start) in (1u32..).zip(starts) {
        let per_chunk =
            entries.iter().rev().find(|entry| entry.first_chunk <= number).unwrap().samples_per_chunk;
        let mut place = start;
        for _ in 0..per_chunk {
            let size = u64::from(sizes[places.len()]);
            places.push(place);
            place += size;
        }
    }
    places
}

fn range(source: MovieSource, from_ms: i64, to_ms: i64) -> MovieSource {
    MovieSource {
        start_us: Some(RUN_ORIGIN_US + from_ms * 1000),
        stop_us: Some(RUN_ORIGIN_US + to_ms * 1000),
        ..source
    }
}

fn broadcast(group: i64, reorder: bool) -> Publisher {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.broadcast(0, 8, group, reorder, true);
    publisher.finish();
    publisher
}

#[test]
fn a_recording_shows_every_picture_and_every_sound() {
    let publisher = broadcast(25, false);
    let movie = build(publisher.source(0)).unwrap();
    let frames = shown(&movie, &publisher.stored(0));
    assert_eq!(frames.len(), 200);
    assert_eq!(frames[0], (0, "picture 0".into()));
    assert_eq!(frames[199], (199 * 40, "picture 7960".into()));
    assert_eq!(movie.metadata.duration_ms, Some(8000));
    assert_eq!(movie.metadata.pre_roll_ms, Some(0));
    assert_eq!(movie.metadata.sizes["mp4"], movie.file.len);
    let video = &movie.metadata.tracks[0];
    assert_eq!((video.kind.as_str(), video.framerate, video.width), ("video", Some(25.0), Some(320)));
}

#[test]
fn a_clip_shows_exactly_the_pictures_in_its_range() {
    let publisher = broadcast(50, false);
    let movie = build(range(publisher.source(0), 2620, 5100)).unwrap();
    let frames = shown(&movie, &publisher.stored(0));
    // 2640 ms is the first picture at or after the start, 5080 ms the last one before the end.
    assert_eq!(frames.first().unwrap(), &(0, "picture 2640".into()));
    assert_eq!(frames.last().unwrap(), &(2440, "picture 5080".into()));
    assert_eq!(frames.len(), 62);
    assert_eq!(movie.metadata.duration_ms, Some(2480));
    assert_eq!(movie.metadata.pre_roll_ms, Some(640));
    let expected_start = common::at(2_640_000);
    assert_eq!(movie.metadata.start_time, Some(expected_start));
}

#[test]
fn a_range_that_ends_on_a_picture_leaves_that_picture_out() {
    let publisher = broadcast(25, false);
    let movie = build(range(publisher.source(0), 1000, 2000)).unwrap();
    let frames = shown(&movie, &publisher.stored(0));
    assert_eq!((frames.len(), frames[24].1.as_str()), (25, "picture 1960"));
}

#[test]
fn the_range_of_a_second_without_pictures_is_empty_or_sound() {
    let publisher = broadcast(25, false);
    assert!(matches!(build(range(publisher.source(0), 20_000, 21_000)), Err(MovieError::Empty)));
    let mut silent = Publisher::new();
    silent.config(audio_config(2));
    for sound in 0..470 {
        silent.sound(0, sound, sound * 1024 / 48);
    }
    silent.finish();
    let movie = build(range(silent.source(0), 3000, 5000)).unwrap();
    assert_eq!(movie.metadata.duration_ms, Some(2000));
    assert_eq!(movie.metadata.tracks[0].kind, "audio");
}

#[test]
fn sound_that_begins_late_stays_late() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.broadcast(0, 3, 25, false, false);
    publisher.config(audio_config(2));
    publisher.broadcast(3000, 3, 25, false, true);
    publisher.finish();
    let movie = build(publisher.source(0)).unwrap();
    let (moov, ..) = materialise(&movie, &publisher.stored(0));
    let list = moov.trak[1].edts.as_ref().unwrap().elst.as_ref().unwrap();
    assert_eq!(list.entries[0].segment_duration, 3 * 90_000);
    assert_eq!(movie.metadata.duration_ms, Some(6000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever the range, the group length and the reordering: the frames shown are those whose
    /// time lies in the range, and the first sample of the file is a sync sample.
    #[test]
    fn every_cut_is_exact_and_begins_on_a_sync_sample(
        group in 1i64..80,
        reorder in any::<bool>(),
        from_ms in -500i64..7900,
        length_ms in 45i64..4000,
    ) {
        let publisher = broadcast(group, reorder);
        let source = publisher.source(0);
        let all = shown(&build(source.clone()).unwrap(), &publisher.stored(0));
        prop_assert_eq!(all.len(), 200);
        let movie = build(range(source, from_ms, from_ms + length_ms));
        let expected: Vec<&String> = all
            .iter()
            .filter(|(pts, _)| (from_ms..from_ms + length_ms).contains(pts))
            .map(|(_, name)| name)
            .collect();
        match movie {
            Ok(movie) if !expected.is_empty() => {
                let frames = shown(&movie, &publisher.stored(0));
                prop_assert_eq!(frames.iter().map(|(_, name)| name).collect::<Vec<_>>(), expected);
                let (moov, ..) = materialise(&movie, &publisher.stored(0));
                let syncs = moov.trak[0].mdia.minf.stbl.stss.as_ref().map(|stss| stss.entries[0]);
                prop_assert!(syncs.is_none_or(|first| first == 1));
            }
            Ok(movie) => prop_assert_eq!(movie.metadata.tracks[0].kind.as_str(), "audio"),
            Err(_) => prop_assert!(expected.is_empty()),
        }
    }
}
