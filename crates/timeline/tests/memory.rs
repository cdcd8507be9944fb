//! What the plan of a long file takes of memory: so much per segment, while it is made and while it is kept.
//!
//! One test: what is counted is the whole process's.

mod common;

use bytes::Bytes;
use common::{at, audio_config, video_config};
use mediahooks_media::sample::{SampleInfo, Ticks};
use mediahooks_model::{CutMode, TargetFormat, TimelineId};
use mediahooks_timeline::index::{SegmentIndex, StoredIndex, TrackSpan};
use mediahooks_timeline::movie::{MovieSource, StoredSegment, Stretch, narrow};
use peak_alloc::PeakAlloc;
use uuid::Uuid;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// An hour.
const SEGMENTS: i64 = 3600;

/// Bytes that a file keeps for a segment of two tracks, beside its index.
const KEPT_MAX: usize = 120;

/// Bytes more that it takes while it is planned.
const PLANNED_MAX: usize = 300;

/// A second of 60 pictures with reordering, and of 46 or 47 sounds.
fn index(second: i64) -> Vec<u8> {
    let picture = |n: u32| SampleInfo {
        duration: 1500,
        size: 9000 + (n * 7919 + second as u32 * 31) % 4000,
        cts_offset: [1500, 6000, 1500, 0][n as usize % 4],
        is_sync: n == 0,
    };
    let sound =
        |n: i64| SampleInfo { duration: 1024, size: 330 + (n % 17) as u32, cts_offset: 0, is_sync: true };
    let (first, next) = (second * 48_000 / 1024, (second + 1) * 48_000 / 1024);
    let pictures = TrackSpan {
        track: 0,
        base_dts: Ticks(900_000 + second * 90_000),
        data_offset: 2000,
        samples: (0..60).map(picture).collect(),
    };
    let bytes: u32 = pictures.samples.iter().map(|sample| sample.size).sum();
    let sounds = TrackSpan {
        track: 1,
        base_dts: Ticks(480_000 + first * 1024),
        data_offset: 2000 + bytes,
        samples: (first..next).map(sound).collect(),
    };
    SegmentIndex { tracks: vec![pictures, sounds] }.encode()
}

/// As the recorder hands it over: the indexes of a page share a buffer.
fn source() -> MovieSource {
    let mut segments = Vec::with_capacity(SEGMENTS as usize);
    let seconds: Vec<i64> = (0..SEGMENTS).collect();
    for page in seconds.chunks(128) {
        let indexes: Vec<Vec<u8>> = page.iter().map(|second| index(*second)).collect();
        let mut rest = Bytes::from(indexes.concat());
        segments.extend(indexes.iter().map(|index| StoredSegment {
            wall_offset_us: 0,
            late_us: 0,
            index: StoredIndex(rest.split_to(index.len())),
        }));
    }
    let stretch = Stretch {
        timeline: TimelineId(Uuid::nil()),
        tracks: vec![video_config(), audio_config(2)],
        segments,
        // Both ends are cut.
        start_us: Some(10_500_000),
        stop_us: Some(10_000_000 + (SEGMENTS - 1) * 1_000_000 + 300_000),
        late_us: 0,
    };
    MovieSource {
        stretches: vec![stretch],
        hold_gaps: false,
        cut: CutMode::Frame,
        format: TargetFormat::Mp4,
        created: at(0),
    }
}

#[test]
fn a_long_file_takes_its_index_and_little_more_for_each_segment() {
    let segments = SEGMENTS as usize;
    let before = MEMORY.current_usage();
    let mut source = source();
    let index: usize = source.stretches[0].segments.iter().map(|segment| segment.index.0.len()).sum();
    let read = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let built = narrow(&mut source).unwrap().build(&source).unwrap();
    let planned = MEMORY.peak_usage() - read;
    assert!(planned < (KEPT_MAX + PLANNED_MAX) * segments, "{} bytes a segment", planned / segments);
    drop(source);
    let (kept, weight) = (MEMORY.current_usage() - before, built.file.weight());
    assert!(kept < index + KEPT_MAX * segments, "{} bytes a segment", (kept - index) / segments);
    // What a cache counts with is what it takes.
    assert!(weight.abs_diff(kept) < kept / 50, "{weight} of {kept} bytes");
}
