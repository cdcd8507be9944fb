//! The demuxer against tags as encoders make them, one behaviour each, and against any bytes.

use bytes::Bytes;
use proptest::prelude::*;

use super::amf0::Value;
use super::*;
use crate::sample::Ticks;

/// 64x48 and 32x32, of x264.
const AVCC: &str = "0142c00affe100156742c00ada11ec0440000003004000000503c489a801000468ce0fc8";
const AVCC_OTHER: &str = "0142c00affe100166742c00ada25b0e1000003000100000300140f1226a001000468ce0fc8";
const AV1C: &str = "81000c000a0b02000005157fbc02f80040";
/// With the version and flags of a full box in front, as FFmpeg sends it.
const VPCC: &str = "01000000000a820202020000";
/// The uncompressed header of a 64x48 key frame.
const VP9_KEY_FRAME: &str = "824983420003f002f60638241c184200";
const AAC_48K: &str = "1190";
const AAC_44K: &str = "1210";
const OPUS_HEAD: &str = "4f707573486561640101380180bb0000000000";
/// MPEG-1 layer III, 128 kbit/s, 44.1 kHz, joint stereo; then the same with another bit rate.
const MP3_FRAME: &str = "fffb9064";
const MP3_FRAME_160K: &str = "fffba064";
const MP3_FRAME_48K: &str = "fffb9464";

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A tag body: its parts one after the other.
fn body(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

fn avc_config(record: &str) -> Bytes {
    body(&[&[0x17, 0, 0, 0, 0], &bytes(record)])
}

fn avc_frame(is_key: bool, composition_ms: i32, data: &[u8]) -> Bytes {
    let [_, c2, c1, c0] = composition_ms.to_be_bytes();
    body(&[&[if is_key { 0x17 } else { 0x27 }, 1, c2, c1, c0], data])
}

fn aac_config(record: &str) -> Bytes {
    body(&[&[0xAF, 0], &bytes(record)])
}

fn aac_frame(data: &[u8]) -> Bytes {
    body(&[&[0xAF, 1], data])
}

struct Demuxed {
    demuxer: FlvDemuxer,
    events: Vec<FlvEvent>,
}

impl Demuxed {
    fn new() -> Demuxed {
        Demuxed { demuxer: FlvDemuxer::new(), events: Vec::new() }
    }

    fn push(mut self, tag_type: u8, timestamp_ms: u32, body: Bytes) -> Demuxed {
        self.events.extend(self.demuxer.push(tag_type, timestamp_ms, body).unwrap());
        self
    }

    fn video(self, timestamp_ms: u32, body: Bytes) -> Demuxed {
        self.push(TAG_VIDEO, timestamp_ms, body)
    }

    fn audio(self, timestamp_ms: u32, body: Bytes) -> Demuxed {
        self.push(TAG_AUDIO, timestamp_ms, body)
    }

    /// Events in short: `config H264`, a sample's kind, times and data, or a reason.
    fn check(self, expected: &[&str]) {
        let texts: Vec<String> = self.events.iter().map(in_short).collect();
        assert_eq!(texts, expected);
    }
}

fn in_short(event: &FlvEvent) -> String {
    match event {
        FlvEvent::Config(config) => format!("config {} at {}", config.codec.name(), config.timescale),
        FlvEvent::Sample(kind, Sample { dts: Ticks(dts), cts_offset, is_sync, data }) => {
            let sync = if *is_sync { " sync" } else { "" };
            format!("{kind:?} {dts}+{cts_offset}{sync} {:?}", data.as_ref())
        }
        FlvEvent::EndOfSequence(kind) => format!("end of {kind:?}"),
        FlvEvent::Ignored { reason, .. } => reason.to_string(),
    }
}

#[test]
fn legacy_h264_and_aac() {
    Demuxed::new()
        .video(0, avc_config(AVCC))
        .audio(0, aac_config(AAC_48K))
        .video(0, avc_frame(true, 80, &[1]))
        .audio(0, aac_frame(&[2]))
        .audio(21, aac_frame(&[3]))
        .video(40, avc_frame(false, -40, &[4]))
        .video(40, body(&[&[0x17, 2, 0, 0, 0]]))
        .check(&[
            "config H264 at 90000",
            "config AAC at 48000",
            "Video 0+7200 sync [1]",
            "Audio 0+0 sync [2]",
            "Audio 1024+0 sync [3]",
            "Video 3600+-3600 [4]",
            "end of Video",
        ]);
}

#[test]
fn a_repeated_configuration_is_told_once_and_a_changed_one_again() {
    Demuxed::new()
        .video(0, avc_config(AVCC))
        .video(0, avc_config(AVCC))
        .video(0, avc_config(AVCC_OTHER))
        .audio(0, aac_config(AAC_48K))
        .audio(0, aac_config(AAC_48K))
        .audio(0, aac_config(AAC_44K))
        .check(&[
            "config H264 at 90000",
            "config H264 at 90000",
            "config AAC at 48000",
            "config AAC at 44100",
        ]);
}

#[test]
fn missing_sequence_header() {
    Demuxed::new()
        .video(0, avc_frame(true, 0, &[1]))
        .audio(0, aac_frame(&[1]))
        .check(&["no_configuration"; 2]);
}

#[test]
fn samples_after_a_malformed_configuration_are_not_taken_for_samples_of_the_old_one() {
    let mut demuxed = Demuxed::new().video(0, avc_config(AVCC));
    let malformed = demuxed.demuxer.push(TAG_VIDEO, 0, avc_config("00"));
    assert!(matches!(malformed, Err(FlvError::Config { kind: TrackKind::Video, .. })));
    demuxed
        .video(0, avc_frame(true, 0, &[1]))
        .video(0, avc_config(AVCC))
        .video(0, avc_frame(true, 0, &[2]))
        .check(&["config H264 at 90000", "no_configuration", "config H264 at 90000", "Video 0+0 sync [2]"]);
}

#[test]
fn empty_tags_samples_and_headers() {
    Demuxed::new()
        .video(0, avc_config(AVCC))
        .video(0, avc_frame(true, 0, &[]))
        .video(0, avc_config(""))
        .video(0, Bytes::new())
        .audio(0, Bytes::new())
        .audio(0, aac_config(""))
        .push(TAG_SCRIPT, 0, Bytes::from_static(b"\x02\x00\x0AonMetaData"))
        .check(&["config H264 at 90000", "empty_sample", "empty_tag", "empty_tag"]);
}

#[test]
fn the_frame_type_decides_what_a_sync_sample_is() {
    let recovery_point = [0, 0, 0, 2, 0x06, 0x06];
    let idr = [0, 0, 0, 2, 0x65, 0x88];
    let demuxed = Demuxed::new()
        .video(0, avc_config(AVCC))
        .video(0, avc_frame(true, 0, &recovery_point))
        .video(0, avc_frame(false, 0, &idr));
    let syncs: Vec<bool> = demuxed.events.iter().filter_map(is_sync).collect();
    assert_eq!(syncs, [true, false]);
}

fn is_sync(event: &FlvEvent) -> Option<bool> {
    match event {
        FlvEvent::Sample(_, sample) => Some(sample.is_sync),
        _ => None,
    }
}

#[test]
fn enhanced_video() {
    Demuxed::new()
        .video(0, body(&[&[0x90], b"av01", &bytes(AV1C)]))
        .video(0, body(&[&[0x91], b"av01", &[1]]))
        .video(20, body(&[&[0xA3], b"av01", &[2]]))
        .video(20, body(&[&[0x94], b"av01", &[2, 0, 0]]))
        .video(20, body(&[&[0x92], b"av01"]))
        .video(30, body(&[&[0x90], b"avc1", &bytes(AVCC)]))
        .video(30, body(&[&[0x91], b"avc1", &[0, 0, 10], &[3]]))
        .video(40, body(&[&[0xA1], b"avc1", &[0xFF, 0xFF, 0xF6], &[4]]))
        .video(50, body(&[&[0xA3], b"avc1", &[5]]))
        .video(60, body(&[&[0xD1, 0]]))
        .video(60, body(&[&[0x91], b"vvc1", &[6]]))
        .check(&[
            "config AV1 at 90000",
            "Video 0+0 sync [1]",
            "Video 1800+0 [2]",
            "end of Video",
            "config H264 at 90000",
            "Video 2700+900 sync [3]",
            "Video 3600+-900 [4]",
            "Video 4500+0 [5]",
            "unsupported_codec",
        ]);
}

#[test]
fn colours_are_told_with_the_configuration_and_again_only_when_they_change() {
    let colours = |transfer: f64| {
        let config = Value::object([("transferCharacteristics", Value::Number(transfer))]);
        let mut out = bytes::BytesMut::new();
        let info = Value::object([("colorConfig", config)]);
        amf0::encode_all(&[Value::string("colorInfo"), info], &mut out);
        body(&[&[0xD4], b"av01", &out])
    };
    let demuxed = Demuxed::new()
        .video(0, colours(16.0))
        .video(0, body(&[&[0x90], b"av01", &bytes(AV1C)]))
        .video(0, colours(16.0))
        .video(0, body(&[&[0x91], b"av01", &[1]]))
        .video(0, colours(18.0))
        .video(0, body(&[&[0xD4], b"av01", &[2, 0, 0]]))
        .video(0, body(&[&[0xD4], b"av01", &[2, 0]]));
    let told: Vec<Option<u16>> = demuxed
        .events
        .iter()
        .filter_map(|event| match event {
            FlvEvent::Config(config) => Some(config.told.colour.map(|colour| colour.transfer)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [Some(16), Some(18)]);
    demuxed.check(&["config AV1 at 90000", "Video 0+0 sync [1]", "config AV1 at 90000", "malformed_tag"]);
}

#[test]
fn vp9_waits_for_the_key_frame_that_tells_its_size() {
    let key_frame = body(&[&[0x91], b"vp09", &bytes(VP9_KEY_FRAME)]);
    let demuxed = Demuxed::new()
        .video(0, body(&[&[0x90], b"vp09", &bytes(VPCC)]))
        .video(0, body(&[&[0xA1], b"vp09", &[1]]))
        .video(0, key_frame.clone())
        .video(0, body(&[&[0x90], b"vp09", &bytes(VPCC)]))
        .video(40, key_frame);
    let FlvEvent::Config(config) = &demuxed.events[1] else { panic!("the size is known by now") };
    assert_eq!(config.codec.dimensions(), Some((64, 48)));
    let texts: Vec<String> = demuxed.events.iter().map(in_short).collect();
    assert_eq!(texts[..2], ["before_first_key_frame", "config VP9 at 90000"]);
    assert_eq!(texts.len(), 4, "the same record and the same size are not told again");
}

#[test]
fn of_vp8_the_picture_tells_whether_it_is_a_key_frame() {
    // 64x48, then one that is no key frame whatever its tag says.
    let (key, inter) = (bytes("5000009d012a400030000000"), bytes("510000"));
    let demuxed = Demuxed::new()
        .video(0, body(&[&[0x90], b"vp08", &bytes("000a820101010000")]))
        .video(0, body(&[&[0x91], b"vp08", &inter]))
        .video(40, body(&[&[0xA1], b"vp08", &key]))
        .video(80, body(&[&[0x91], b"vp08", &inter]));
    let FlvEvent::Config(config) = &demuxed.events[1] else { panic!("{:?}", demuxed.events) };
    assert_eq!(config.codec.dimensions(), Some((64, 48)));
    let texts: Vec<String> = demuxed.events.iter().map(in_short).collect();
    assert_eq!(texts[0], "before_first_key_frame");
    assert!(texts[2].contains("sync") && !texts[3].contains("sync"), "{texts:?}");
}

#[test]
fn enhanced_audio() {
    Demuxed::new()
        .audio(0, body(&[&[0x90], b"Opus", &bytes(OPUS_HEAD)]))
        .audio(0, body(&[&[0x91], b"Opus", &[0xF8, 1]]))
        .audio(20, body(&[&[0x91], b"Opus", &[0xF8, 2]]))
        .audio(20, body(&[&[0x94], b"Opus", &[0, 1]]))
        .audio(40, body(&[&[0x92], b"Opus"]))
        .audio(40, body(&[&[0x90], b"mp4a", &bytes(AAC_44K)]))
        .audio(40, body(&[&[0x91], b"mp4a", &[3]]))
        .audio(60, body(&[&[0x91], b"fLaC", &[4]]))
        .check(&[
            "config Opus at 48000",
            "Audio 0+0 sync [248, 1]",
            "Audio 960+0 sync [248, 2]",
            "end of Audio",
            "config AAC at 44100",
            "Audio 1764+0 sync [3]",
            "unsupported_codec",
        ]);
}

#[test]
fn mp3_is_configured_by_its_frames_and_again_only_when_the_track_changes() {
    let frame = |hex| body(&[&[0x2F], &bytes(hex)]);
    Demuxed::new()
        .audio(0, frame(MP3_FRAME))
        .audio(26, frame(MP3_FRAME_160K))
        .audio(52, body(&[&[0x91], b".mp3", &bytes(MP3_FRAME_48K)]))
        .check(&[
            "config MP3 at 44100",
            "Audio 0+0 sync [255, 251, 144, 100]",
            "Audio 1152+0 sync [255, 251, 160, 100]",
            "config MP3 at 48000",
            "Audio 2496+0 sync [255, 251, 148, 100]",
        ]);
}

#[test]
fn mod_ex_adds_nanoseconds_and_unknown_ones_are_skipped() {
    let half_ms = 500_000u32.to_be_bytes();
    let long = vec![7; 300];
    Demuxed::new()
        .video(0, body(&[&[0x90], b"av01", &bytes(AV1C)]))
        // Type 0 with three bytes; then real packet type 1.
        .video(1, body(&[&[0x97, 2], &half_ms[1..], &[0x01], b"av01", &[1]]))
        // Type 5 with 300 bytes, in front of one of type 0.
        .video(
            2,
            body(&[&[0xA7, 0xFF, 0x01, 0x2B], &long, &[0x57, 2], &half_ms[1..], &[0x03], b"av01", &[2]]),
        )
        .check(&["config AV1 at 90000", "Video 135+0 sync [1]", "Video 225+0 [2]"]);
}

#[test]
fn of_several_tracks_of_a_kind_the_first_is_kept() {
    let record = bytes(AV1C);
    let record_length = [0, 0, u8::try_from(record.len()).unwrap()];
    Demuxed::new()
        // Many tracks, one codec, sequence start.
        .video(
            0,
            body(&[&[0x96, 0x10], b"av01", &[0], &record_length, &record, &[1], &record_length, &record]),
        )
        // Many tracks, many codecs, coded frames.
        .video(0, body(&[&[0x96, 0x21], b"av01", &[0, 0, 0, 1], &[1], b"hvc1", &[1, 0, 0, 1], &[2]]))
        // One track, coded frames.
        .video(20, body(&[&[0xA6, 0x01], b"av01", &[0], &[3]]))
        .audio(20, body(&[&[0x95, 0x00], b"mp4a", &[0], &bytes(AAC_48K)]))
        .audio(20, body(&[&[0x95, 0x01], b"mp4a", &[2], &[4]]))
        .check(&[
            "config AV1 at 90000",
            "additional_track",
            "Video 0+0 sync [1]",
            "additional_track",
            "Video 1800+0 [3]",
            "config AAC at 48000",
            "additional_track",
        ]);
}

#[test]
fn a_malformed_tag_costs_only_itself() {
    let mut demuxed = Demuxed::new().video(0, avc_config(AVCC));
    let malformed = [
        (TAG_VIDEO, body(&[&[0x17, 1, 0]]), FlvError::Truncated),
        (TAG_VIDEO, body(&[&[0x91], b"av"]), FlvError::Truncated),
        (TAG_VIDEO, body(&[&[0x97, 0xFF, 0xFF, 0xFF, 0]]), FlvError::Truncated),
        (TAG_VIDEO, body(&[&[0x96, 0x16], b"av01"]), FlvError::NestedMultitrack),
        (TAG_VIDEO, body(&[&[0x96, 0x11], b"av01", &[0, 0xFF, 0xFF, 0xFF]]), FlvError::Truncated),
        (TAG_AUDIO, body(&[&[0xAF]]), FlvError::Truncated),
        (7, body(&[&[0]]), FlvError::UnknownTagType(7)),
    ];
    for (tag_type, tag, error) in malformed {
        assert_eq!(demuxed.demuxer.push(tag_type, 0, tag), Err(error));
    }
    demuxed.video(0, avc_frame(true, 0, &[1])).check(&["config H264 at 90000", "Video 0+0 sync [1]"]);
}

#[test]
fn legacy_codecs_that_no_mp4_holds_are_counted_not_kept() {
    Demuxed::new()
        .video(0, body(&[&[0x12, 1, 2]]))
        .audio(0, body(&[&[0x6F, 1, 2]]))
        .check(&["unsupported_codec", "unsupported_codec"]);
}

#[test]
fn time_goes_on_across_the_wrap_of_the_32_bit_stamp() {
    let last = u32::MAX;
    let wrap_ticks = (1i64 << 32) * 90;
    let demuxed = Demuxed::new()
        .video(last - 39, avc_config(AVCC))
        .video(last - 39, avc_frame(true, 0, &[1]))
        .video(0, avc_frame(false, 0, &[2]))
        .video(40, avc_frame(false, 0, &[3]));
    let expected = [wrap_ticks - 40 * 90, wrap_ticks, wrap_ticks + 40 * 90];
    let times: Vec<i64> = demuxed.events.iter().filter_map(dts).collect();
    assert_eq!(times, expected);
}

fn dts(event: &FlvEvent) -> Option<i64> {
    match event {
        FlvEvent::Sample(_, sample) => Some(sample.dts.0),
        _ => None,
    }
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in(
        frames in prop::collection::vec(
            (any::<bool>(), -8_388_608i32..8_388_608, prop::collection::vec(any::<u8>(), 1..20)), 1..20
        )
    ) {
        let mut demuxer = FlvDemuxer::new();
        demuxer.push(TAG_VIDEO, 0, avc_config(AVCC)).unwrap();
        for (index, (is_key, composition_ms, data)) in frames.into_iter().enumerate() {
            let ms = u32::try_from(index).unwrap() * 40;
            let events = demuxer.push(TAG_VIDEO, ms, avc_frame(is_key, composition_ms, &data)).unwrap();
            let sample = Sample {
                dts: Ticks(i64::from(ms) * 90),
                cts_offset: composition_ms * 90,
                is_sync: is_key,
                data: data.into(),
            };
            prop_assert_eq!(events, vec![FlvEvent::Sample(TrackKind::Video, sample)]);
        }
    }

    #[test]
    fn no_bytes_panic(
        tags in prop::collection::vec(
            (7u8..=10, any::<u32>(), prop::collection::vec(any::<u8>(), 0..60)), 1..20
        )
    ) {
        let mut demuxer = FlvDemuxer::new();
        for (tag_type, timestamp_ms, tag) in tags {
            let _ = demuxer.push(tag_type, timestamp_ms, tag.into());
        }
    }

    #[test]
    fn no_bytes_after_a_valid_header_panic(
        first in prop::sample::select(vec![0x17u8, 0x27, 0x90, 0x91, 0x96, 0x97, 0xA1, 0xA6, 0xA7, 0xAF, 0x95]),
        code in prop::sample::select(vec![*b"avc1", *b"hvc1", *b"av01", *b"vp09", *b"Opus", *b"mp4a", *b".mp3"]),
        rest in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut demuxer = FlvDemuxer::new();
        for tag_type in [TAG_AUDIO, TAG_VIDEO] {
            let _ = demuxer.push(tag_type, 0, body(&[&[first], &code, &rest]));
            let _ = demuxer.push(tag_type, 0, body(&[&[first], &rest]));
        }
    }
}
