//! WebM files: from the key frame at or before the range on, each frame of it, in FFmpeg and in Chromium.

use std::path::Path;

use mediahooks_model::CutMode;
use mediahooks_testkit::ffmpeg::{complaints, ffmpeg, ffmpeg9, frame_numbers, probe};

use super::broadcast::{Broadcast, Format, Recording, clip};
use super::chromium::{AV1_OPUS, VP9_OPUS, expect, shows};
use super::{SECOND, frame_numbers_of_any_size, h264, sound_is_in_time};

const VP8_OPUS: Recording = Recording {
    codecs: &["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-c:a", "libopus"],
    encoder: ffmpeg9,
    seconds: 6,
    ..h264("vp8-opus", "25", "", &[])
};
const VP8_LARGE: Recording = Recording { size: "384x216", name: "vp8-large", ..VP8_OPUS };
const VP9_LARGE: Recording = Recording { size: "384x216", name: "vp9-large", ..VP9_OPUS };

/// Frames in a group.
const GROUP: usize = 50;

/// From the middle of a frame, in the middle of a group, to the middle of another one.
const RANGE_US: (i64, i64) = (2_977_000, 5_017_000);

/// The frames from the key frame at or before the range on, and when that one is shown.
fn from_key_frame(broadcast: &Broadcast, (from_us, to_us): (i64, i64)) -> (i64, Vec<u32>) {
    let first = broadcast.frames.iter().position(|(us, _)| *us > from_us).unwrap() - 1;
    let begins_us = broadcast.frames[first - first % GROUP].0;
    (begins_us, broadcast.numbers(begins_us, to_us))
}

/// When the first frame is shown: sound may begin up to a packet earlier.
fn first_picture_us(path: &Path) -> i64 {
    let start = probe(path)["streams"][0]["start_time"].as_str().unwrap().parse::<f64>().unwrap();
    (start * 1e6).round() as i64
}

#[test]
fn a_webm_begins_with_the_key_frame_before_the_range() {
    for recording in [VP8_OPUS, VP9_OPUS, AV1_OPUS] {
        let broadcast = recording.broadcast();
        let (movie, path) =
            clip(recording.name, &[(&broadcast, Some(RANGE_US))], CutMode::Frame, false, Format::Webm);
        let (begins_us, numbers) = from_key_frame(&broadcast, RANGE_US);
        for program in [ffmpeg(), ffmpeg9()] {
            assert_eq!(frame_numbers(&program, &path), numbers, "{}", recording.name);
            assert_eq!(complaints(&program, &path), "", "{}", recording.name);
        }
        let early_us = first_picture_us(&path);
        assert!((0..=20_000).contains(&early_us), "{}: {early_us}", recording.name);
        sound_is_in_time(&broadcast, begins_us - early_us, &path, recording.name);
        let metadata = &movie.metadata;
        assert_eq!((metadata.format.as_str(), metadata.sizes["webm"]), ("WebM", movie.file.len()));
        let before_ms = (RANGE_US.0 - begins_us + early_us) / 1000;
        assert!(metadata.pre_roll_ms.unwrap().abs_diff(before_ms as u64) <= 1, "{metadata:?}");
        let played: f64 = probe(&path)["format"]["duration"].as_str().unwrap().parse().unwrap();
        assert!((played * 1000.0 - metadata.duration_ms.unwrap() as f64).abs() < 1.0, "{played}");
    }
}

#[test]
fn runs_of_different_size_are_one_track() {
    for (small, large) in [(VP8_OPUS, VP8_LARGE), (VP9_OPUS, VP9_LARGE)] {
        let (a, b) = (small.broadcast(), large.broadcast());
        for hold in [false, true] {
            let name = format!("{} joined {hold}", small.name);
            let parts = [(&a, Some((3 * SECOND, 6 * SECOND))), (&b, None)];
            let (movie, path) = clip(&name, &parts, CutMode::Frame, hold, Format::Webm);
            let (_, first) = from_key_frame(&a, (3 * SECOND, 6 * SECOND));
            let expected = [first, b.numbers(0, 60 * SECOND)].concat();
            assert_eq!(frame_numbers_of_any_size(&path), expected, "{name}");
            assert_eq!(complaints(&ffmpeg(), &path), "", "{name}");
            assert_eq!(movie.metadata.gaps.len(), 1);
            let tracks = &movie.metadata.tracks;
            assert_eq!((tracks[0].width, tracks[0].height), (Some(384), Some(216)));
        }
    }
}

#[test]
fn a_browser_plays_webm_and_vp8_in_mp4() {
    let (vp8, vp9, av1) = (VP8_OPUS.broadcast(), VP9_OPUS.broadcast(), AV1_OPUS.broadcast());
    let (vp8_large, vp9_large) = (VP8_LARGE.broadcast(), VP9_LARGE.broadcast());
    let range = Some(RANGE_US);
    let until = Some((3 * SECOND, 6 * SECOND));
    let webm = |name, parts: &[_]| expect(name, parts, CutMode::Keyframe, false, Format::Webm);
    shows(&[
        webm("vp8", &[(&vp8, range)]),
        webm("vp9", &[(&vp9, range)]),
        webm("av1", &[(&av1, range)]),
        webm("vp8-whole", &[(&vp8, None)]),
        webm("vp9-whole", &[(&vp9, None)]),
        webm("vp8-joined", &[(&vp8, until), (&vp8_large, None)]),
        webm("vp9-joined", &[(&vp9, until), (&vp9_large, None)]),
        expect("vp8-mp4", &[(&vp8, range)], CutMode::Frame, false, Format::Mp4),
    ]);
}

#[test]
fn vp8_in_mp4_is_exact() {
    let broadcast = VP8_OPUS.broadcast();
    let (_, path) = clip("vp8 exact", &[(&broadcast, Some(RANGE_US))], CutMode::Frame, false, Format::Mp4);
    for program in [ffmpeg(), ffmpeg9()] {
        assert_eq!(frame_numbers(&program, &path), broadcast.numbers(RANGE_US.0, RANGE_US.1));
        assert_eq!(complaints(&program, &path), "");
    }
}
