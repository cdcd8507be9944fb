//! Lays out an eight-hour movie at 60 frames per second and prints what it cost.
//!
//! Run with `cargo bench -p mediahooks-media`. The sample tables come segment by segment, as they do
//! from the database; the worst case for the index is measured: B-frames, and durations and sizes
//! that differ from sample to sample.

use std::{fs, hint::black_box, time::Instant};

use bytes::Bytes;
use mediahooks_media::{
    codec::CodecConfig,
    mp4::{Chunk, Edit, MovieBuilder, MovieTrack, VirtualMp4},
    sample::{SampleInfo, TrackConfig, TrackKind},
};

const SEGMENTS: u32 = 8 * 3600 / 2;
const FRAMES_PER_SEGMENT: u32 = 120;
const PACKETS_PER_SEGMENT: u32 = 94;

fn main() {
    let avcc =
        "0164000dffe1001a6764000dacd941519e226c0440000003004000000f03c50a658001000668ebe3cb22c0fdf8f800";
    let avcc = Bytes::from(hex::decode(avcc).expect("hexadecimal"));
    let video = TrackConfig {
        kind: TrackKind::Video,
        timescale: 90_000,
        codec: CodecConfig::h264(avcc).expect("a record"),
    };
    let audio = TrackConfig {
        kind: TrackKind::Audio,
        timescale: 48_000,
        codec: CodecConfig::aac(Bytes::from_static(&[0x11, 0x90])).expect("a record"),
    };
    let before_kib = peak_memory_kib();
    let start = Instant::now();
    let movie = lay_out(&video, &audio);
    let took = start.elapsed();
    println!(
        "8 h, {} frames, {} packets: {took:?}, header {} KiB, {} extents, {} KiB of memory at the peak",
        SEGMENTS * FRAMES_PER_SEGMENT,
        SEGMENTS * PACKETS_PER_SEGMENT,
        movie.header.len() / 1024,
        movie.extents.len(),
        peak_memory_kib() - before_kib,
    );
    let start = Instant::now();
    let seeks = 100_000;
    for seek in 0..seeks {
        let at = movie.len / seeks * seek;
        black_box(movie.slices(at..at + 65_536).count());
    }
    println!("the pieces of a 64 KiB range: {:?}", start.elapsed() / u32::try_from(seeks).expect("few"));
}

fn lay_out(video: &TrackConfig, audio: &TrackConfig) -> VirtualMp4 {
    let whole = Edit { empty: 0, media_time: 6000, duration: 8 * 3600 * 90_000 };
    let tracks = [
        MovieTrack { configs: std::slice::from_ref(video), edit: whole },
        MovieTrack { configs: std::slice::from_ref(audio), edit: whole },
    ];
    let mut builder = MovieBuilder::new(&tracks, 0).expect("a movie");
    for segment in 0..SEGMENTS {
        let frames: Vec<_> = (0..FRAMES_PER_SEGMENT).map(frame).collect();
        let packets: Vec<_> = (0..PACKETS_PER_SEGMENT).map(packet).collect();
        let media: u64 = frames.iter().map(|frame| u64::from(frame.size)).sum();
        let chunks = [(0, 4096, &frames), (1, 4096 + media, &packets)];
        for (track, offset, samples) in chunks {
            builder.push(&Chunk { track, config: 0, source: segment, offset, samples }).expect("a chunk");
        }
    }
    builder.finish().expect("a movie")
}

fn frame(index: u32) -> SampleInfo {
    SampleInfo {
        duration: 1440 + index % 3 / 2 * 90,
        size: 12_000 + index,
        cts_offset: [3000, 6000, 1500, 0][index as usize % 4],
        is_sync: index == 0,
    }
}

fn packet(index: u32) -> SampleInfo {
    SampleInfo { duration: 1024, size: 330 + index % 7, cts_offset: 0, is_sync: true }
}

/// The most memory that this process ever had, from Linux; 0 elsewhere.
fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
