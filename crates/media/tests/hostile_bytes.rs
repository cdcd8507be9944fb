//! No bytes from the network or the disk panic a parser, nor make it allocate without bound.

use bytes::Bytes;
use mediahooks_media::{
    cmaf::{FragmentTrack, encode_fragment_head, parse_fragment},
    codec::CodecConfig,
    error::CodecError,
    sample::{SampleInfo, Ticks, TrackConfig},
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// Records of real encoders, to be damaged.
const RECORDS: [&str; 8] = [
    "0164000dffe1001a6764000dacd941519e226c0440000003004000000f03c50a658001000668ebe3cb22c0fdf8f800",
    concat!(
        "0101600000009000000000003cf000fcfdf8f800000f03200001001840010c01ffff01600000030090000003000003003c",
        "959809210001002a42010101600000030090000003000003003ca00a480b9c9596566924caf0168080000003008000000f",
        "0422000100074401c172b46240",
    ),
    "81000c000a0b000000043d06d4daf90040",
    "01000000000b820202020000",
    "1190",
    "138856e5a54880",
    "4f707573486561640102380180bb0000000000",
    "fffb9064",
];

fn record(index: usize) -> Vec<u8> {
    hex::decode(RECORDS[index]).expect("hexadecimal")
}

fn parse_all(bytes: &[u8]) {
    let record = || Bytes::copy_from_slice(bytes);
    let parsed: [Result<CodecConfig, CodecError>; 8] = [
        CodecConfig::h264(record()),
        CodecConfig::h265(record()),
        CodecConfig::av1(record()),
        CodecConfig::vp8(record()),
        CodecConfig::vp9(record()),
        CodecConfig::aac(record()),
        CodecConfig::opus_from_id_header(bytes),
        CodecConfig::mp3(bytes),
    ];
    for config in parsed.into_iter().flatten() {
        let _ = (config.codec_string(), config.dimensions(), config.channels(), config.audio_sample_rate());
        let _ = (config.audio_frame_len(bytes), config.with_dimensions_from_sample(bytes), config.colour());
        let _ = TrackConfig::new(48_000, config).sample_entry();
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        parse_all(&bytes);
    }

    #[test]
    fn a_damaged_record_is_a_record_or_an_error(
        which in 0..RECORDS.len(),
        damage in vec((any::<Index>(), any::<u8>()), 0..6),
        kept in any::<Index>(),
    ) {
        let mut bytes = record(which);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        parse_all(&bytes);
        parse_all(&bytes[..kept.index(bytes.len())]);
    }

    #[test]
    fn any_bytes_are_a_fragment_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        let _ = parse_fragment(&bytes);
    }

    #[test]
    fn a_damaged_fragment_is_a_fragment_or_an_error(
        damage in vec((any::<Index>(), any::<u8>()), 1..8),
        kept in any::<Index>(),
    ) {
        let info = |size, is_sync| SampleInfo { duration: 3000, size, cts_offset: -1, is_sync };
        let samples = [info(20, true), info(10, false), info(10, false)];
        let track = |track_id| FragmentTrack { track_id, base_dts: Ticks(90_000), samples: &samples };
        let head = encode_fragment_head(1, &[track(1), track(2)]).expect("a fragment");
        let mut bytes = head.bytes;
        bytes.resize(usize::try_from(head.total_len).expect("small"), 0);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = parse_fragment(&bytes);
        let _ = parse_fragment(&bytes[..kept.index(bytes.len())]);
    }
}

#[test]
fn the_records_are_sound_before_they_are_damaged() {
    for (index, name) in ["H264", "H265", "AV1", "VP9", "AAC", "AAC", "Opus", "MP3"].into_iter().enumerate() {
        let bytes = Bytes::from(record(index));
        let config = match name {
            "H264" => CodecConfig::h264(bytes),
            "H265" => CodecConfig::h265(bytes),
            "AV1" => CodecConfig::av1(bytes),
            "VP9" => CodecConfig::vp9(bytes),
            "AAC" => CodecConfig::aac(bytes),
            "Opus" => CodecConfig::opus_from_id_header(&bytes),
            _ => CodecConfig::mp3(&bytes),
        };
        assert_eq!(config.unwrap_or_else(|error| panic!("{name}: {error}")).name(), name);
    }
}
