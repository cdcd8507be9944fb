//! Files built from sample tables: what is held, what is shown.

mod common;

use bytes::Bytes;
use common::player::{materialise, range, shown};
use common::{Publisher, audio_config, on_a_page, video_config};
use mediahooks_media::codec::CodecConfig;
use mediahooks_media::sample::{Sample, Ticks, TrackConfig, TrackKind};
use mediahooks_model::CutMode;
use mediahooks_timeline::movie::{MovieError, MovieSource, build, narrow};
use proptest::prelude::*;

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
    let movie = build(&publisher.source(0)).unwrap();
    let frames = shown(&movie, &publisher.stored(0));
    assert_eq!(frames.len(), 200);
    assert_eq!(frames[0], (0, "picture 0".into()));
    assert_eq!(frames[199], (199 * 40, "picture 7960".into()));
    assert_eq!(movie.metadata.duration_ms, Some(8000));
    assert_eq!(movie.metadata.pre_roll_ms, Some(0));
    assert_eq!(movie.metadata.sizes["mp4"], movie.file.len());
    let video = &movie.metadata.tracks[0];
    assert_eq!((video.kind.as_str(), video.framerate, video.width), ("video", Some(25.0), Some(320)));
}

#[test]
fn a_clip_shows_exactly_the_pictures_in_its_range() {
    let publisher = broadcast(50, false);
    let movie = build(&range(publisher.source(0), 2620, 5100)).unwrap();
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
    let movie = build(&range(publisher.source(0), 1000, 2000)).unwrap();
    let frames = shown(&movie, &publisher.stored(0));
    assert_eq!((frames.len(), frames[24].1.as_str()), (25, "picture 1960"));
}

#[test]
fn the_range_of_a_second_without_pictures_is_empty_or_sound() {
    let publisher = broadcast(25, false);
    assert!(matches!(build(&range(publisher.source(0), -2000, -1000)), Err(MovieError::Empty)));
    let mut silent = Publisher::new();
    silent.config(audio_config(2));
    for sound in 0..470 {
        silent.sound(0, sound, sound * 1024 / 48);
    }
    silent.finish();
    let movie = build(&range(silent.source(0), 3000, 5000)).unwrap();
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
    let movie = build(&publisher.source(0)).unwrap();
    let (moov, ..) = materialise(&movie, &publisher.stored(0));
    let list = moov.trak[1].edts.as_ref().unwrap().elst.as_ref().unwrap();
    assert_eq!(list.entries[0].segment_duration, 3 * 90_000);
    assert_eq!(movie.metadata.duration_ms, Some(6000));
}

#[test]
fn pictures_with_negative_composition_offsets_are_all_shown_and_in_time_with_the_sound() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    for picture in 0..75 {
        publisher.picture(picture * 40, -80, picture % 25 == 0, picture * 40);
        publisher.sound(0, picture, picture * 40);
    }
    publisher.finish();
    let movie = build(&publisher.source(0)).unwrap();
    let stored = publisher.stored(0);
    let frames = shown(&movie, &stored);
    assert_eq!(frames.len(), 75);
    assert_eq!(frames[0], (0, "picture 0".into()));
    assert_eq!(frames[74], (74 * 40, "picture 2960".into()));
    let (moov, ..) = materialise(&movie, &stored);
    let list = moov.trak[1].edts.as_ref().unwrap().elst.as_ref().unwrap();
    // The first sound is heard with the picture that is shown at its time, the third.
    assert_eq!((list.entries[0].media_time, list.entries[0].segment_duration), (None, 80 * 90));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever the range, the group length and the reordering: the frames shown are those whose
    /// time lies in the range, and the first sample of the file is a sync sample. Behind them all the last one stays.
    #[test]
    fn every_cut_is_exact_and_begins_on_a_sync_sample(
        group in 1i64..80,
        reorder in any::<bool>(),
        from_ms in -500i64..7900,
        length_ms in 45i64..4000,
    ) {
        let publisher = broadcast(group, reorder);
        let source = publisher.source(0);
        let all = shown(&build(&source.clone()).unwrap(), &publisher.stored(0));
        prop_assert_eq!(all.len(), 200);
        let movie = build(&range(source, from_ms, from_ms + length_ms));
        let expected: Vec<&String> = all
            .iter()
            .filter(|(pts, _)| (from_ms..from_ms + length_ms).contains(pts))
            .map(|(_, name)| name)
            .collect();
        let stays = Some(&all[199]).filter(|(last, _)| from_ms > *last);
        let expected: Vec<&String> = expected.into_iter().chain(stays.map(|(_, name)| name)).collect();
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

/// What an Opus encoder puts in front is hidden where its sound begins, and what follows keeps its time.
#[test]
fn the_pre_skip_of_opus_is_not_heard() {
    const PRE_SKIP: i64 = 312;
    let mut head = b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0".to_vec();
    head[10..12].copy_from_slice(&(PRE_SKIP as u16).to_le_bytes());
    let opus = TrackConfig::new(48_000, CodecConfig::opus_from_id_header(&head).unwrap());
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(opus);
    for tick in 0..400 {
        if tick % 2 == 0 {
            publisher.picture(tick * 20, 0, tick % 50 == 0, tick * 20);
        }
        // 20 ms in one frame.
        let data = Bytes::from(format!("\x7csound {tick}"));
        let sample = Sample { dts: Ticks(tick * 960), cts_offset: 0, is_sync: true, data };
        publisher.push(TrackKind::Audio, sample, tick * 20);
    }
    publisher.finish();
    let edits = |source: MovieSource| {
        let movie = build(&source).unwrap();
        let (moov, ..) = materialise(&movie, &publisher.stored(0));
        let list = moov.trak[1].edts.clone().and_then(|edts| edts.elst).map_or(vec![], |elst| elst.entries);
        let ms = |ticks: u64| ticks * 1000 / u64::from(moov.mvhd.timescale);
        let shown: Vec<_> = list.iter().map(|edit| (edit.media_time, ms(edit.segment_duration))).collect();
        (shown, movie.metadata.duration_ms)
    };
    // Nothing for 6.5 ms, as the picture is there from 0 on; then what follows the 312 ticks.
    let whole = edits(publisher.source(0));
    assert_eq!(whole, (vec![(None, 6), (Some(PRE_SKIP as u64), 7993)], Some(8000)));
    let from_start = edits(range(publisher.source(0), 0, 4000)).0;
    assert_eq!(from_start, [(None, 6), (Some(PRE_SKIP as u64), 3993)]);
    // In the middle there is none; a decoder gets 80 ms to settle.
    assert_eq!(edits(range(publisher.source(0), 4000, 6000)).0, [(Some(80 * 48), 2000)]);
    let at_sync = MovieSource { cut: CutMode::Keyframe, ..publisher.source(0) };
    assert!(edits(at_sync).0.iter().all(|(media_time, _)| media_time.is_none_or(|time| time == 0)));
}

#[test]
fn a_file_keeps_nothing_of_the_indexes_that_it_does_not_need() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.broadcast(0, 40, 25, false, false);
    publisher.finish();
    let mut source = range(publisher.source(0), 30_500, 32_500);
    let page = on_a_page(&mut source);
    let built = narrow(&mut source).unwrap().build(&source).unwrap();
    drop(source);
    assert!(page.is_unique());
    assert!(built.file.weight() < 4000, "{} bytes", built.file.weight());
}
