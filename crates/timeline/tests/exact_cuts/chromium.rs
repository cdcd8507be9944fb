//! What Chromium shows of clips.

use std::collections::BTreeMap;

use mediahooks_model::CutMode;
use mediahooks_testkit::ffmpeg::ffmpeg9;

use super::broadcast::{Broadcast, Format, Recording, clip};
use super::browser::{self, Watched};
use super::{LARGE, QUICK, SECOND, h264};

pub const AV1_OPUS: Recording = Recording {
    codecs: &["-c:v", "libsvtav1", "-preset", "12", "-g", "50", "-c:a", "libopus"],
    encoder: ffmpeg9,
    seconds: 6,
    ..h264("av1-opus", "25", "", &[])
};
pub const VP9_OPUS: Recording = Recording {
    codecs: &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-c:a", "libopus"],
    encoder: ffmpeg9,
    seconds: 6,
    ..h264("vp9-opus", "25", "", &[])
};

/// Frames in a group of all of them but the last.
const GROUP: usize = 50;

/// A clip to be watched and what has to be seen of it.
pub struct Expected {
    name: &'static str,
    watched: Watched,
    numbers: Vec<u32>,
    duration: f64,
}

/// The first and the last frames of a clip, and some between.
pub fn expect(
    name: &'static str,
    parts: &[(&Broadcast, Option<(i64, i64)>)],
    cut: CutMode,
    hold: bool,
    format: Format,
) -> Expected {
    let (movie, path) = clip(name, parts, cut, hold, format);
    let gap_us = if hold { movie.metadata.gaps[0].duration_ms as i64 * 1000 } else { 0 };
    let mut frames: Vec<(i64, u32)> = Vec::new();
    let mut begin_us = 0;
    for (broadcast, range) in parts {
        let (from, to) = range.unwrap_or((0, i64::MAX));
        let mut begins = broadcast.frames.iter().position(|(us, _)| *us >= from).unwrap();
        if cut == CutMode::Keyframe {
            begins -= begins % GROUP;
        }
        let shown: Vec<_> = broadcast.frames[begins..].iter().filter(|(us, _)| *us < to).copied().collect();
        let first_us = shown[0].0;
        frames.extend(shown.iter().map(|(us, number)| (begin_us + us - first_us, *number)));
        begin_us = frames.last().unwrap().0 + 40_000 + gap_us;
    }
    let last = frames.len() - 1;
    let places = [0, 1, 2, last / 3, last / 2, last / 2 + 1, last - 2, last - 1, last];
    // In the middle of each frame; a sound may begin up to one of its frames earlier.
    let at = places.map(|place| frames[place].0 as f64 / 1e6 + 0.027);
    // Whoever goes on to the end sees nothing after the last one, but of a file that shows all that it holds.
    let end = (cut == CutMode::Frame).then_some((1e6, last));
    let looks = at.into_iter().zip(places).chain(end);
    let (at, numbers) = looks.map(|(at, place)| (at, frames[place].1)).unzip();
    Expected {
        name,
        watched: Watched { path, at },
        numbers,
        duration: movie.metadata.duration_ms.unwrap() as f64 / 1000.0,
    }
}

#[test]
fn a_browser_shows_the_frames_of_the_range() {
    let (plain, large) = (QUICK[0].broadcast(), LARGE.broadcast());
    let (av1, vp9) = (AV1_OPUS.broadcast(), VP9_OPUS.broadcast());
    let range = Some((2_957_000, 5_003_000));
    // Its last frames are decoded after some that are shown later.
    let inside = Some((2_957_000, 4_930_000));
    let until = Some((9 * SECOND, 12_080_000));
    let expected = [
        expect("h264-aac", &[(&plain, range)], CutMode::Frame, false, Format::Mp4),
        expect("h264-aac-keyframe", &[(&plain, range)], CutMode::Keyframe, false, Format::Mp4),
        expect("av1-opus", &[(&av1, range)], CutMode::Frame, false, Format::Mp4),
        expect("vp9-opus", &[(&vp9, range)], CutMode::Frame, false, Format::Mp4),
        expect("joined", &[(&plain, until), (&large, None)], CutMode::Frame, false, Format::Mp4),
        expect("fmp4-h264-aac", &[(&plain, range)], CutMode::Frame, false, Format::Fragmented),
        expect("fmp4-h264-aac-keyframe", &[(&plain, range)], CutMode::Keyframe, false, Format::Fragmented),
        expect("fmp4-inside", &[(&plain, inside)], CutMode::Frame, false, Format::Fragmented),
        expect("fmp4-av1-opus", &[(&av1, range)], CutMode::Frame, false, Format::Fragmented),
        expect("fmp4-joined", &[(&plain, until), (&large, None)], CutMode::Frame, false, Format::Fragmented),
    ];
    shows(&expected);
}

/// Has a browser play every file and look at it.
pub fn shows(expected: &[Expected]) {
    let files: BTreeMap<String, Watched> = expected
        .iter()
        .map(|one| {
            let watched = Watched { path: one.watched.path.clone(), at: one.watched.at.clone() };
            (one.name.to_owned(), watched)
        })
        .collect();
    let seen = browser::watch(&files);
    for one in expected {
        let seen = &seen[one.name];
        assert_eq!(seen.error, None, "{}", one.name);
        assert_eq!(seen.numbers, one.numbers, "{}: {seen:?} at {:?}", one.name, one.watched.at);
        // Of fragments it adds up decode times: with the sound that is only decoded.
        let more = if one.name.starts_with("fmp4") { 0.12 } else { 0.0 };
        assert!(
            (seen.duration - one.duration).abs() < 0.05 + more,
            "{}: {seen:?}, not {}",
            one.name,
            one.duration
        );
    }
}
