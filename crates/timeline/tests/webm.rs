//! WebM files of synthetic broadcasts, read by an independent parser.

mod common;

use std::io::Cursor;

use bytes::Bytes;
use common::player::whole;
use common::{Publisher, at, audio_config, on_a_page, opus, vp9};
use matroska_demuxer::{Frame, MatroskaFile};
use mediahooks_media::error::MuxError;
use mediahooks_media::sample::{Sample, Ticks, TrackKind};
use mediahooks_model::TargetFormat;
use mediahooks_timeline::movie::{self, BuiltMovie, MovieError, MovieSource};
use mediahooks_timeline::segmenter::RUN_ORIGIN_US;
use proptest::prelude::*;

/// The `number`th packet of 20 ms, that arrives when it is due.
fn sound(publisher: &mut Publisher, number: i64) {
    let (dts, data) = (Ticks(number * 960), Bytes::from(format!("sound {}", number * 20)));
    publisher.push(TrackKind::Audio, Sample { dts, cts_offset: 0, is_sync: true, data }, number * 20);
}

/// 25 pictures and 50 sounds a second, a key frame every `group` pictures.
fn broadcast(seconds: i64, group: i64) -> Publisher {
    let mut publisher = Publisher::new();
    publisher.config(vp9());
    publisher.config(opus());
    for picture in 0..seconds * 25 {
        publisher.picture(picture * 40, 0, picture % group == 0, picture * 40);
        sound(&mut publisher, picture * 2);
        sound(&mut publisher, picture * 2 + 1);
    }
    publisher.finish();
    publisher
}

/// A range in milliseconds after the first picture.
fn cut(publisher: &Publisher, range: Option<(i64, i64)>) -> MovieSource {
    let mut source = publisher.source(0);
    source.format = TargetFormat::Webm;
    if let Some((from_ms, to_ms)) = range {
        source.stretches[0].start_us = Some(RUN_ORIGIN_US + from_ms * 1000);
        source.stretches[0].stop_us = Some(RUN_ORIGIN_US + to_ms * 1000);
    }
    source
}

/// Time, key flag and text of every block of a track, by number.
fn blocks(movie: &BuiltMovie, stored: &[Vec<u8>], track: u64) -> Vec<(u64, bool, String)> {
    let file = whole(movie.file.as_ref(), stored);
    let mut parsed = MatroskaFile::open(Cursor::new(file)).unwrap();
    let (mut frame, mut blocks) = (Frame::default(), Vec::new());
    while parsed.next_frame(&mut frame).unwrap() {
        if frame.track == track {
            let text = String::from_utf8_lossy(&frame.data).into_owned();
            blocks.push((frame.timestamp, frame.is_keyframe.unwrap(), text));
        }
    }
    blocks
}

#[test]
fn every_sample_has_its_time() {
    let publisher = broadcast(5, 50);
    let movie = movie::build(&cut(&publisher, None)).unwrap();
    let pictures = blocks(&movie, &publisher.stored(0), 1);
    let expected = (0..125).map(|n| (n * 40, n % 50 == 0, format!("picture {}", n * 40)));
    assert_eq!(pictures, expected.collect::<Vec<_>>());
    // Later by what the decoder drops at the beginning.
    let sounds = blocks(&movie, &publisher.stored(0), 2);
    let expected = (0..250).map(|n| (n * 20 + 7, true, format!("sound {}", n * 20)));
    assert_eq!(sounds, expected.collect::<Vec<_>>());
    assert_eq!((movie.metadata.duration_ms, movie.metadata.pre_roll_ms), (Some(5000), Some(0)));
    assert_eq!(movie.metadata.start_time, Some(at(0)));
}

#[test]
fn a_file_keeps_nothing_of_the_indexes_that_it_does_not_need() {
    let mut source = cut(&broadcast(40, 25), Some((30_500, 32_500)));
    let page = on_a_page(&mut source);
    let built = movie::narrow(&mut source).unwrap().build(&source).unwrap();
    drop(source);
    assert!(page.is_unique());
    assert!(built.file.weight() < 8000, "{} bytes", built.file.weight());
}

#[test]
fn a_picture_a_minute_begins_clusters_of_its_own() {
    for with_sound in [false, true] {
        let mut publisher = Publisher::new();
        publisher.config(vp9());
        if with_sound {
            publisher.config(opus());
        }
        for second in 0..300 {
            if second % 60 == 0 {
                publisher.picture(second * 1000, 0, second == 0, second * 1000);
            }
            for number in 0..50 * i64::from(with_sound) {
                sound(&mut publisher, second * 50 + number);
            }
        }
        publisher.finish();
        let movie = movie::build(&cut(&publisher, None)).unwrap();
        let pictures = blocks(&movie, &publisher.stored(0), 1);
        let times: Vec<u64> = pictures.iter().map(|(ms, ..)| *ms).collect();
        assert_eq!(times, [0, 60_000, 120_000, 180_000, 240_000], "with sound: {with_sound}");
        assert_eq!(blocks(&movie, &publisher.stored(0), 2).len(), if with_sound { 15_000 } else { 0 });
    }
}

#[test]
fn sound_alone_can_be_sought_in() {
    let mut publisher = Publisher::new();
    publisher.config(opus());
    (0..500).for_each(|number| sound(&mut publisher, number));
    publisher.finish();
    let movie = movie::build(&cut(&publisher, Some((3005, 7000)))).unwrap();
    let file = whole(movie.file.as_ref(), &publisher.stored(0));
    let mut parsed = MatroskaFile::open(Cursor::new(file)).unwrap();
    let mut frame = Frame::default();
    assert!(parsed.next_frame(&mut frame).unwrap());
    assert_eq!((frame.timestamp, frame.data.as_slice()), (7, &b"sound 3000"[..]));
    parsed.seek(2500).unwrap();
    assert!(parsed.next_frame(&mut frame).unwrap());
    assert!((2500..=2520).contains(&frame.timestamp), "{frame:?}");
}

#[test]
fn aac_is_refused_by_name() {
    let mut publisher = Publisher::new();
    publisher.config(vp9());
    publisher.config(audio_config(2));
    publisher.broadcast(0, 2, 25, false, true);
    publisher.finish();
    let refused = movie::build(&cut(&publisher, None)).unwrap_err();
    assert_eq!(refused, MovieError::Mux(MuxError::NotInWebm { codec: "AAC" }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// From the key frame at or before the range to its end, and the same file from the segments alone that it
    /// needs.
    #[test]
    fn any_range_is_whole_groups_to_its_end(from_ms in 0..9_000i64, length_ms in 1..5_000i64, group in 1..80i64) {
        let publisher = broadcast(10, group);
        let range = (from_ms, from_ms + length_ms);
        let movie = match movie::build(&cut(&publisher, Some(range))) {
            Ok(movie) => movie,
            Err(error) => {
                prop_assert_eq!(error, MovieError::Empty);
                return Ok(());
            }
        };
        let stored = publisher.stored(0);
        let pictures = blocks(&movie, &stored, 1);
        let begins = from_ms / 40 / group * group;
        let wanted = (begins..250).filter(|n| n * 40 < range.1).map(|n| format!("picture {}", n * 40));
        prop_assert_eq!(pictures.iter().map(|(.., text)| text.clone()).collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
        prop_assert!(pictures[0].1);
        for pair in pictures.windows(2) {
            prop_assert_eq!(pair[1].0 - pair[0].0, 40);
        }
        let sounds = blocks(&movie, &stored, 2);
        for pair in sounds.windows(2) {
            prop_assert_eq!(pair[1].0 - pair[0].0, 20);
        }
        // In step: a block of sound is stamped 6.5 ms late.
        let sound_ms = sounds[0].2[6..].parse::<i64>().unwrap() - pictures[0].2[8..].parse::<i64>().unwrap();
        prop_assert!((sounds[0].0 as i64 - 7 - pictures[0].0 as i64 - sound_ms).abs() <= 1);
        prop_assert_eq!(movie.metadata.pre_roll_ms, Some((from_ms - begins * 40) as u64 + pictures[0].0));

        let mut narrowed = cut(&publisher, Some(range));
        let kept = movie::narrow(&mut narrowed).unwrap();
        let needed = kept.needed[0];
        let again = kept.build(&narrowed).unwrap();
        prop_assert_eq!(again.metadata, movie.metadata);
        prop_assert_eq!(whole(again.file.as_ref(), &stored[needed.first_segment..]), whole(movie.file.as_ref(), &stored));
    }
}
