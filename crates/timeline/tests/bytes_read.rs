//! What of the stored media a clip reads: its own, and at most one group of pictures before it.

mod common;

use common::player::range;
use common::{Publisher, audio_config, video_config};
use mediahooks_media::virtual_file::{Extent, Piece};
use mediahooks_model::TargetFormat;
use mediahooks_timeline::movie::{MovieSource, build};
use mediahooks_timeline::segmenter::RUN_ORIGIN_US;

const GROUP_MS: i64 = 2000;
/// A frame of AAC at 48 kHz lasts 21.3 ms.
const SOUND_MS: i64 = 22;

/// Half an hour of 25 pictures a second.
fn broadcast() -> Publisher {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.broadcast(0, 1800, GROUP_MS / 40, true, true);
    publisher.finish();
    publisher
}

/// Bytes of the samples whose decode times lie in a range.
fn bytes_between(publisher: &Publisher, from_ms: i64, to_ms: i64) -> u64 {
    let segments = publisher.segments();
    let tracks = segments[0].tracks.clone().unwrap();
    let spans = segments.iter().flat_map(|segment| &segment.index.tracks);
    let samples = spans.flat_map(|span| {
        let timescale = tracks[span.track as usize].timescale;
        span.timed().map(move |(dts, sample)| (dts.to_micros(timescale) - RUN_ORIGIN_US, sample.size))
    });
    let wanted = from_ms * 1000..to_ms * 1000;
    samples.filter(|(dts_us, _)| wanted.contains(dts_us)).map(|(_, size)| u64::from(size)).sum()
}

#[test]
fn a_clip_reads_its_media_and_one_group_at_most() {
    let publisher = broadcast();
    for format in [TargetFormat::Mp4, TargetFormat::Fmp4] {
        for (from_ms, to_ms) in [(0, 10_000), (901_960, 911_960), (1_789_000, 1_799_000)] {
            let source = MovieSource { format, ..publisher.source(0) };
            let limit = bytes_between(&publisher, from_ms - GROUP_MS - SOUND_MS, to_ms + SOUND_MS);
            let file = build(&range(source, from_ms, to_ms)).unwrap().file;
            let (mut at, mut read) = (0, 0);
            while at < file.len() {
                let piece = file.piece(at..file.len()).unwrap();
                at += piece.len();
                if let Piece::Extent(Extent { len, .. }) = piece {
                    read += len;
                }
            }
            assert!(read <= limit, "{format:?} {from_ms}-{to_ms}: {read} of {limit}");
            assert!(read * 10 > limit * 8, "the clip has its media: {read} of {limit}");
        }
    }
}
