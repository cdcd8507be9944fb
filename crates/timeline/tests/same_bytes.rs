//! The same media makes the same bytes: who has a part of a file goes on with it after an update of the server.
//!
//! The ETag of a file names what it is made of and `movie::LAYOUT`, which stands for how. A change of the bytes fails
//! here: raise `movie::LAYOUT` with it, unless the bytes before were in no release, and expect the new ones.

mod common;

use bytes::Bytes;
use common::player::{range, whole};
use common::{Publisher, audio_config, larger, opus, video_config, vp9};
use mediahooks_media::sample::{Sample, Ticks, TrackKind};
use mediahooks_model::{CutMode, TargetFormat};
use mediahooks_timeline::movie::{BuiltMovie, Edits, LAYOUT, MovieSource, build, build_fragments};
use sha2::{Digest, Sha256};

/// `movie::LAYOUT`, and the beginning of the SHA-256 of each file.
const EXPECTED: (u32, &[(&str, &str)]) = (
    6,
    &[
        ("mp4", "410f46ccfb7bd873"),
        ("mp4, cut", "4b01d14b441bc0b6"),
        ("mp4, cut at key frames", "095daf38db1abf12"),
        ("mp4, joined", "f625636d85a48b62"),
        ("fmp4", "47acd0f46da00cac"),
        ("fmp4, cut", "c291d94fcbeac81e"),
        ("fmp4, cut at key frames", "b76b8cf1a6c14567"),
        ("fmp4, joined", "f5d05992bc5200b5"),
        ("hls, joined", "65e8e4815fb31a6c"),
        ("webm", "41eb94f778ee6c5f"),
    ],
);

/// Five seconds with reordering, a break of one, and four of another configuration.
fn broadcast() -> Publisher {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.broadcast(0, 5, 25, true, true);
    publisher.finish();
    publisher.config(larger());
    publisher.broadcast(6000, 4, 50, false, true);
    publisher.finish();
    publisher
}

fn royalty_free() -> Publisher {
    let mut publisher = Publisher::new();
    publisher.config(vp9());
    publisher.config(opus());
    for number in 0..250 {
        if number % 2 == 0 {
            publisher.picture(number * 20, 0, number % 50 == 0, number * 20);
        }
        let data = Bytes::from(format!("sound {number}"));
        let sample = Sample { dts: Ticks(number * 960), cts_offset: 0, is_sync: true, data };
        publisher.push(TrackKind::Audio, sample, number * 20);
    }
    publisher.finish();
    publisher
}

/// Files of every kind with the beginning of their SHA-256. Their media is known to be `late_us` late by now.
fn files(late_us: i64) -> Vec<(&'static str, String)> {
    let publisher = broadcast();
    let stored = [publisher.stored(0), publisher.stored(1)].concat();
    let late = |mut source: MovieSource| {
        let segments = source.stretches.iter_mut().flat_map(|stretch| &mut stretch.segments);
        segments.for_each(|segment| segment.late_us = late_us);
        source
    };
    let cut = range(publisher.source(0), 1300, 3700);
    let at_sync = MovieSource { cut: CutMode::Keyframe, ..cut.clone() };
    let stretches = vec![publisher.stretch(0, 1), publisher.stretch(1, 2)];
    let joined = MovieSource { stretches, hold_gaps: true, ..publisher.source(0) };
    let mp4 = |source: &MovieSource| build(&late(source.clone())).unwrap();
    let fmp4 = |source: &MovieSource, edits| build_fragments(&late(source.clone()), edits).unwrap().movie;
    let free = royalty_free();
    let webm = MovieSource { format: TargetFormat::Webm, ..free.source(0) };
    let files: [(&str, BuiltMovie, &[Vec<u8>]); 10] = [
        ("mp4", mp4(&publisher.source(0)), &stored),
        ("mp4, cut", mp4(&cut), &stored),
        ("mp4, cut at key frames", mp4(&at_sync), &stored),
        ("mp4, joined", mp4(&joined), &stored),
        ("fmp4", fmp4(&publisher.source(0), Edits::Hiding), &stored),
        ("fmp4, cut", fmp4(&cut, Edits::Hiding), &stored),
        ("fmp4, cut at key frames", fmp4(&at_sync, Edits::Whole), &stored),
        ("fmp4, joined", fmp4(&joined, Edits::Hiding), &stored),
        ("hls, joined", fmp4(&joined, Edits::Absent), &stored),
        ("webm", mp4(&webm), &free.stored(0)),
    ];
    let digest = |movie: &BuiltMovie, stored| Sha256::digest(whole(movie.file.as_ref(), stored));
    files.iter().map(|(name, movie, stored)| (*name, hex::encode(&digest(movie, stored)[..8]))).collect()
}

#[test]
fn the_same_media_makes_the_same_bytes() {
    let made = files(0);
    let made: Vec<(&str, &str)> = made.iter().map(|(name, digest)| (*name, digest.as_str())).collect();
    assert_eq!((LAYOUT, made.as_slice()), EXPECTED, "other bytes: see the head of this test");
}

#[test]
fn what_becomes_known_later_changes_no_byte() {
    assert_eq!(files(1_234_567), files(0));
}
