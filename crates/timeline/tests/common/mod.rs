//! A synthetic publisher: samples at exact times, fed to a segmenter, and what came of them.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod player;

use bytes::Bytes;
use mediahooks_media::codec::CodecConfig;
use mediahooks_media::sample::{Sample, Ticks, TrackConfig, TrackKind};
use mediahooks_model::{CutMode, TargetFormat, TimelineId, Timestamp};
use mediahooks_timeline::movie::{MovieSource, StoredSegment, Stretch};
use mediahooks_timeline::segmenter::{ClosedSegment, Output, Segmenter, SegmenterSettings};

/// Wall clock at which every synthetic broadcast begins.
pub const WALL_US: i64 = 1_700_000_000_000_000;

pub fn video_config() -> TrackConfig {
    // 320x180, Main profile, with reordering.
    let avcc = "014d400dffe10019674d400deca0a0cfcf8088000003000800000301e078a14cb001000568ebe3cb20";
    let bytes: Vec<u8> =
        (0..avcc.len()).step_by(2).map(|at| u8::from_str_radix(&avcc[at..at + 2], 16).unwrap()).collect();
    TrackConfig::new(90_000, CodecConfig::h264(Bytes::from(bytes)).unwrap())
}

/// AAC-LC, 48 kHz, with 2 or 1 channels.
pub fn audio_config(channels: u8) -> TrackConfig {
    TrackConfig::new(48_000, CodecConfig::aac(Bytes::from(vec![0x11, 0x80 | (channels << 3)])).unwrap())
}

/// 64x48.
pub fn vp9() -> TrackConfig {
    let record = Bytes::from_static(&[0, 10, 0x82, 2, 2, 2, 0, 0]);
    let frame = [0x82, 0x49, 0x83, 0x42, 0, 3, 0xf0, 2, 0xf6, 6, 0x38, 0x24, 0x1c, 0x18, 0x42, 0];
    let codec = CodecConfig::vp9(record).unwrap().with_dimensions_from_sample(&frame).unwrap();
    TrackConfig::new(90_000, codec)
}

/// Opus with a pre-skip of 312 samples, 6.5 ms.
pub fn opus() -> TrackConfig {
    let head = [&b"OpusHead\x01\x02"[..], &[0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0]].concat();
    let codec = CodecConfig::opus_from_id_header(&head).unwrap();
    TrackConfig::new(48_000, codec)
}

/// 320x180 like [`video_config`], with another record.
pub fn larger() -> TrackConfig {
    let avcc =
        "0164000dffe1001a6764000dacd941519e226c0440000003004000000f03c50a658001000668ebe3cb22c0fdf8f800";
    let bytes: Vec<u8> =
        (0..avcc.len()).step_by(2).map(|at| u8::from_str_radix(&avcc[at..at + 2], 16).unwrap()).collect();
    TrackConfig { codec: CodecConfig::h264(bytes.into()).unwrap(), ..video_config() }
}

pub fn at(us: i64) -> Timestamp {
    Timestamp::from_micros(WALL_US + us)
}

pub struct Publisher {
    pub segmenter: Segmenter,
    pub outputs: Vec<Output>,
}

impl Publisher {
    /// Its media is stored in pieces of 0.8 s, whatever the server's own pieces are.
    pub fn new() -> Self {
        let settings = SegmenterSettings { piece_us: 800_000, ..SegmenterSettings::default() };
        Self { segmenter: Segmenter::new(settings), outputs: Vec::new() }
    }

    pub fn config(&mut self, config: TrackConfig) {
        self.segmenter.set_track(config, &mut self.outputs).unwrap();
    }

    /// A picture stamped `dts_ms` that arrives at `arrival_ms`.
    pub fn picture(&mut self, dts_ms: i64, cts_ms: i64, is_sync: bool, arrival_ms: i64) {
        let sample = Sample {
            dts: Ticks(dts_ms * 90),
            cts_offset: i32::try_from(cts_ms * 90).unwrap(),
            is_sync,
            data: Bytes::from(format!("picture {dts_ms}")),
        };
        self.push(TrackKind::Video, sample, arrival_ms);
    }

    /// The `number`th AAC frame of a track that began at `base_ms`.
    pub fn sound(&mut self, base_ms: i64, number: i64, arrival_ms: i64) {
        let dts = Ticks(base_ms * 48 + number * 1024);
        let sample =
            Sample { dts, cts_offset: 0, is_sync: true, data: Bytes::from(format!("sound {number}")) };
        self.push(TrackKind::Audio, sample, arrival_ms);
    }

    pub fn push(&mut self, kind: TrackKind, sample: Sample, arrival_ms: i64) {
        self.segmenter.push(kind, sample, at(arrival_ms * 1000), &mut self.outputs).unwrap();
    }

    /// `seconds` of 25 pictures and 46.875 sounds a second in real time from `from_ms` on, a sync
    /// sample every `group` pictures. With `reorder`, presentation follows the pattern I P B B.
    pub fn broadcast(&mut self, from_ms: i64, seconds: i64, group: i64, reorder: bool, with_sound: bool) {
        let mut sounds = 0;
        for picture in 0..seconds * 25 {
            let dts_ms = from_ms + picture * 40;
            let cts_ms = if reorder { reordering_ms(picture % group, group) } else { 0 };
            self.picture(dts_ms, cts_ms, picture % group == 0, dts_ms);
            while with_sound && sounds * 1024 * 1000 <= picture * 40 * 48_000 {
                self.sound(from_ms, sounds, dts_ms);
                sounds += 1;
            }
        }
    }

    pub fn finish(&mut self) {
        self.segmenter.flush(&mut self.outputs).unwrap();
    }

    pub fn segments(&self) -> Vec<&ClosedSegment> {
        let closed = |output: &'_ Output| matches!(output, Output::Segment(_));
        self.outputs
            .iter()
            .filter(|output| closed(output))
            .map(|output| match output {
                Output::Segment(segment) => segment.as_ref(),
                _ => unreachable!("filtered"),
            })
            .collect()
    }

    pub fn dropped(&self) -> Vec<&'static str> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Dropped { reason, .. } => Some(reason.as_str()),
                _ => None,
            })
            .collect()
    }

    /// All of run `run` as the source of a file.
    pub fn source(&self, run: u32) -> MovieSource {
        MovieSource {
            stretches: vec![self.stretch(run, 1)],
            hold_gaps: false,
            cut: CutMode::Frame,
            format: TargetFormat::Mp4,
            created: at(0),
        }
    }

    /// All of run `run`, as if its timeline had the number `timeline`.
    pub fn stretch(&self, run: u32, timeline: u128) -> Stretch {
        let segments: Vec<&ClosedSegment> =
            self.segments().into_iter().filter(|segment| segment.run == run).collect();
        Stretch {
            timeline: TimelineId(uuid::Uuid::from_u128(timeline)),
            tracks: segments.iter().rev().find_map(|segment| segment.tracks.clone()).unwrap(),
            segments: segments
                .iter()
                .map(|segment| StoredSegment {
                    wall_offset_us: segment.wall_offset_us,
                    late_us: 0,
                    index: (&segment.index).into(),
                })
                .collect(),
            start_us: None,
            stop_us: None,
            late_us: 0,
        }
    }

    /// The bytes of run `run`'s segments as they would be stored, by position.
    pub fn stored(&self, run: u32) -> Vec<Vec<u8>> {
        let of_run = self.segments().into_iter().filter(|segment| segment.run == run);
        of_run.map(|segment| [segment.head.clone(), segment.payload.concat()].concat()).collect()
    }
}

/// Composition offset of the picture at `place` in a closed group that is coded as I, then blocks of
/// P B B, of which the P is shown last; what does not fill a block is shown in order.
fn reordering_ms(place: i64, group: i64) -> i64 {
    let block = place - (place - 1).rem_euclid(3);
    if place == 0 || block + 2 >= group {
        40
    } else if place == block {
        120
    } else {
        0
    }
}

/// Lets the indexes of a source be parts of a page, as the database reads them: one behind the other, beside others.
pub fn on_a_page(source: &mut MovieSource) -> Bytes {
    let segments = &mut source.stretches[0].segments;
    let lens: Vec<usize> = segments.iter().map(|segment| segment.index.0.len()).collect();
    let all: Vec<u8> = segments.iter().flat_map(|segment| segment.index.0.to_vec()).collect();
    let page = Bytes::from([all, vec![0; 50_000]].concat());
    let mut rest = page.clone();
    for (segment, len) in segments.iter_mut().zip(lens) {
        segment.index.0 = rest.split_to(len);
    }
    page
}
