//! What is read from the configuration records that encoders send.

use bytes::Bytes;
use mediahooks_media::{
    codec::CodecConfig,
    colour::ColourInfo,
    error::{CodecError, MuxError},
};
use shiguredo_mp4::Encode;

const OPUS_HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\x00\xff\0";

fn bytes(hexadecimal: &str) -> Bytes {
    hex::decode(hexadecimal).expect("hexadecimal").into()
}

fn aac(hexadecimal: &str) -> CodecConfig {
    CodecConfig::aac(bytes(hexadecimal)).unwrap_or_else(|error| panic!("{hexadecimal}: {error}"))
}

/// Packs groups of binary digits into bytes, the last one filled with zeros.
fn bits(groups: &[&str]) -> Bytes {
    let digits = groups.concat();
    let bytes = digits.as_bytes().chunks(8).map(|byte| {
        let digits = std::str::from_utf8(byte).expect("digits");
        u8::from_str_radix(&format!("{digits:0<8}"), 2).expect("binary digits")
    });
    bytes.collect()
}

fn entry_bytes(config: &CodecConfig) -> Vec<u8> {
    config
        .sample_entry(&ColourInfo::default())
        .and_then(|entry| Ok(entry.encode_to_vec()?))
        .expect("a sample entry")
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// The configuration's words: codec string, core rate, channels, frame length.
fn check_aac(config: &CodecConfig, expected: (&str, u32, u32, u32)) {
    let (codec_string, rate, channels, frame_len) = expected;
    assert_eq!(config.codec_string(), codec_string);
    assert_eq!(config.audio_sample_rate(), Some(rate));
    assert_eq!(config.channels(), Some(channels));
    assert_eq!(config.audio_frame_len(&[]), Some(frame_len));
}

#[test]
fn plain_aac() {
    check_aac(&aac("1190"), ("mp4a.40.2", 48_000, 2, 1024));
    check_aac(&aac("1210"), ("mp4a.40.2", 44_100, 2, 1024));
    check_aac(&aac("1588"), ("mp4a.40.2", 8_000, 1, 1024));
    // 5.1 and 7.1.
    check_aac(&aac("11b0"), ("mp4a.40.2", 48_000, 6, 1024));
    check_aac(&aac("11b8"), ("mp4a.40.2", 48_000, 8, 1024));
    // frameLengthFlag.
    check_aac(&aac("1194"), ("mp4a.40.2", 48_000, 2, 960));
    // A rate that has no index: 37 000 Hz.
    check_aac(&aac("1780484410"), ("mp4a.40.2", 37_000, 2, 1024));
}

#[test]
fn high_efficiency_aac_is_measured_by_its_core() {
    // Explicit and hierarchical: the record begins with the extension.
    check_aac(&aac("2b8a0800"), ("mp4a.40.5", 22_050, 1, 1024));
    check_aac(&aac("eb8a0800"), ("mp4a.40.29", 22_050, 2, 1024));
    // Explicit and backward compatible: the extension follows the core.
    check_aac(&aac("139056e5a0"), ("mp4a.40.5", 22_050, 2, 1024));
    check_aac(&aac("138856e5a54880"), ("mp4a.40.29", 22_050, 2, 1024));
    // Implicit: nothing in the record tells.
    check_aac(&aac("1390"), ("mp4a.40.2", 22_050, 2, 1024));
    // The extension is announced as absent.
    check_aac(&aac("139056e500"), ("mp4a.40.2", 22_050, 2, 1024));
}

#[test]
fn low_delay_aac_has_short_frames() {
    // ER AAC LD, 48 kHz, stereo, epConfig 0.
    check_aac(
        &CodecConfig::aac(bits(&["10111", "0011", "0010", "0", "0", "0", "00"])).expect("a record"),
        ("mp4a.40.23", 48_000, 2, 512),
    );
    // ER AAC ELD by the escape value.
    check_aac(
        &CodecConfig::aac(bits(&["11111", "000111", "0011", "0001", "1", "000"])).expect("a record"),
        ("mp4a.40.39", 48_000, 1, 480),
    );
}

#[test]
fn channels_of_a_program_config_element_are_counted() {
    // One front pair, one back pair and an LFE, as FFmpeg writes layouts without a configuration.
    let header = ["00010", "0011", "0000", "0", "0", "0"];
    let element = ["0000", "01", "0011", "0001", "0000", "0001", "01", "000", "0000", "0", "0", "0"];
    let tags = ["1", "0000", "1", "0001", "0000"];
    // Already at a whole byte; a comment of no length.
    let tail = ["00000000"];
    let record = bits(&[&header[..], &element, &tags, &tail].concat());
    check_aac(&CodecConfig::aac(record).expect("a record"), ("mp4a.40.2", 48_000, 5, 1024));
}

#[test]
fn unusable_aac_is_refused_with_a_reason() {
    let error = |hexadecimal| CodecConfig::aac(bytes(hexadecimal)).expect_err("no configuration");
    assert!(matches!(error(""), CodecError::Truncated { .. }));
    assert!(matches!(error("11"), CodecError::Truncated { .. }));
    assert!(error("1680").to_string().contains("sampling frequency"));
    assert!(error("11c8").to_string().contains("channel configuration 9"));
    // USAC: object type 42.
    assert!(error("f94640").to_string().contains("audio object type 42"));
}

#[test]
fn an_aac_record_reaches_the_file_unchanged() {
    for record in ["1190", "138856e5a54880", "2b8a0800"] {
        assert!(contains(&entry_bytes(&aac(record)), &bytes(record)));
    }
}

#[test]
fn opus_headers_become_dops_boxes() {
    let config = CodecConfig::opus_from_id_header(OPUS_HEAD).expect("a header");
    assert_eq!((config.codec_string().as_str(), config.channels()), ("Opus", Some(2)));
    assert_eq!(config.audio_sample_rate(), Some(48_000));
    // Version 0 and big-endian: pre-skip 312, 48 kHz, gain -1 dB.
    assert!(contains(&entry_bytes(&config), b"dOps\0\x02\x01\x38\0\0\xbb\x80\xff\0\0"));
}

#[test]
fn multichannel_opus_keeps_its_mapping() {
    let head = b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05";
    let config = CodecConfig::opus_from_id_header(head).expect("a header");
    assert_eq!(config.channels(), Some(6));
    let dops = b"dOps\0\x06\x01\x38\0\0\xbb\x80\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05";
    assert!(contains(&entry_bytes(&config), dops));
    let cut = CodecConfig::opus_from_id_header(&head[..head.len() - 1]);
    assert!(matches!(cut, Err(CodecError::Truncated { .. })));
}

#[test]
fn the_length_of_an_opus_packet_is_in_its_first_bytes() {
    let config = CodecConfig::opus_from_id_header(OPUS_HEAD).expect("a header");
    let len = |packet: &[u8]| config.audio_frame_len(packet);
    assert_eq!(len(&[0xfc]), Some(960)); // CELT 20 ms, one frame
    assert_eq!(len(&[0xe0]), Some(120)); // CELT 2.5 ms
    assert_eq!(len(&[0x18]), Some(2880)); // SILK 60 ms
    assert_eq!(len(&[0x79]), Some(1920)); // hybrid 20 ms, two frames
    assert_eq!(len(&[0xff, 0x03]), Some(2880)); // three frames
    assert_eq!(len(&[0xff, 0x00]), None); // no frame
    assert_eq!(len(&[0xff, 0x07]), None); // 140 ms
    assert_eq!(len(&[0xff]), None);
    assert_eq!(len(&[]), None);
}

#[test]
fn pre_roll_is_counted_in_packets() {
    let opus = CodecConfig::opus_from_id_header(OPUS_HEAD).expect("a header");
    assert_eq!([120, 960, 2880, 0].map(|len| opus.roll_distance(len)), [-32, -4, -2, -3840].map(Some));
    assert_eq!(aac("1190").roll_distance(1024), Some(-1));
    assert_eq!(CodecConfig::mp3(&[0xff, 0xfb, 0x90, 0x64]).expect("a header").roll_distance(1152), None);
}

#[test]
fn mp3_is_described_by_its_frame_header() {
    let check = |header: [u8; 4], expected: (&str, u32, u32, u32)| {
        check_aac(&CodecConfig::mp3(&header).expect("a header"), expected);
    };
    check([0xff, 0xfb, 0x90, 0x64], ("mp4a.6B", 44_100, 2, 1152));
    check([0xff, 0xf3, 0x44, 0xc4], ("mp4a.69", 24_000, 1, 576));
    check([0xff, 0xe3, 0x18, 0xc4], ("mp4a.69", 8_000, 1, 576));
    let error = |header: [u8; 4]| CodecConfig::mp3(&header).expect_err("no configuration").to_string();
    assert!(error([0xff, 0xfd, 0x90, 0x64]).contains("layer"));
    assert!(error([0x00; 4]).contains("sync word"));
}

#[test]
fn vp9_records_come_with_and_without_their_header() {
    let with = CodecConfig::vp9(bytes("01000000000b820202020000")).expect("a record");
    let without = CodecConfig::vp9(bytes("000b820202020000")).expect("a record");
    for config in [&with, &without] {
        assert_eq!(config.codec_string(), "vp09.00.11.08");
        assert_eq!(config.dimensions(), None);
        assert_eq!(config.sample_entry(&ColourInfo::default()), Err(MuxError::NoDimensions { codec: "VP9" }));
    }
    // A key frame of 322 × 182: marker, profile 0, key frame, shown, sync code, colour, size.
    let frame = bits(&[
        "10",
        "00",
        "0",
        "0",
        "1",
        "0",
        "010010011000001101000010",
        "001",
        "0",
        "0000000101000001",
        "0000000010110101",
        "0",
    ]);
    let sized = without.with_dimensions_from_sample(&frame).expect("a key frame");
    assert_eq!(sized.dimensions(), Some((322, 182)));
    assert_eq!(sized.with_dimensions_from_sample(&frame), None);
    assert!(sized.same_record(&without));
    assert!(contains(&entry_bytes(&sized), b"vpcC\x01\0\0\0\0\x0b\x82\x02\x02\x02\0\0"));
    assert_eq!(without.with_dimensions_from_sample(&[0x86, 0, 0]), None);
}

#[test]
fn vp8_learns_its_size_from_a_key_frame() {
    let config = CodecConfig::vp8(bytes("000a820101010000")).expect("a record");
    assert_eq!((config.name(), config.codec_string().as_str()), ("VP8", "vp08.00.10.08"));
    assert_eq!(config.sample_entry(&ColourInfo::default()), Err(MuxError::NoDimensions { codec: "VP8" }));
    // Key frame, version 0, shown, a first partition of 2 bytes; start code; 322 × 182 and bits that ask
    // for upscaling, then the partition.
    let frame = bytes("5000009d012a4241b6800000");
    assert_eq!(config.is_sync_sample(&frame), Some(true));
    assert_eq!(config.is_sync_sample(&bytes("510000")), Some(false));
    assert_eq!(config.is_sync_sample(&[]), Some(false));
    let sized = config.with_dimensions_from_sample(&frame).expect("a key frame");
    assert_eq!(sized.dimensions(), Some((322, 182)));
    assert_eq!(sized.with_dimensions_from_sample(&frame), None);
    assert!(sized.same_record(&config));
    assert!(contains(&entry_bytes(&sized), b"vpcC\x01\0\0\0\0\x0a\x82\x01\x01\x01\0\0"));
    // A frame between, a start code that is none, and a frame cut short.
    for other in ["510000", "5000009d012b4241b6800000", "5000009d012a4241"] {
        assert_eq!(config.with_dimensions_from_sample(&bytes(other)), None, "{other}");
    }
}

#[test]
fn av1_without_configuration_obus_learns_its_size_from_a_sample() {
    let whole = CodecConfig::av1(bytes("81000c000a0b000000043d06d4daf90040")).expect("a record");
    assert_eq!(whole.dimensions(), Some((322, 182)));
    assert_eq!(whole.codec_string(), "av01.0.00M.08");
    let bare = CodecConfig::av1(bytes("81000c00")).expect("a record");
    assert_eq!(bare.dimensions(), None);
    // Temporal delimiter, then the sequence header.
    let sample = bytes("12000a0b000000043d06d4daf90040");
    assert_eq!(whole.with_dimensions_from_sample(&sample), None);
    let learnt = bare.with_dimensions_from_sample(&sample).expect("a sequence header");
    assert_eq!(learnt.dimensions(), Some((322, 182)));
    assert!(learnt.same_record(&bare));
    assert!(!learnt.same_record(&whole));
    assert!(contains(&entry_bytes(&learnt), b"\0\0\0\x0cav1C\x81\0\x0c\0"));
}

#[test]
fn unusable_video_records_are_refused_with_a_reason() {
    let h264 = |hexadecimal| CodecConfig::h264(bytes(hexadecimal)).expect_err("no configuration").to_string();
    assert!(h264("").contains("cut short"));
    assert!(h264("0064000dffe1").contains("configurationVersion 0"));
    assert!(h264("0164000dffe0").contains("no sequence parameter set"));
    assert!(h264("0164000dffe1001a6764").contains("cut short"));
    assert!(h264("0164000dfee100016700").contains("3 bytes"));
    let h265 = CodecConfig::h265(bytes("0101600000009000000000003cf000fcfdf8f800000f00"));
    assert!(h265.expect_err("no configuration").to_string().contains("no sequence parameter set"));
    assert!(CodecConfig::av1(bytes("01000c00")).is_err());
    assert!(CodecConfig::vp9(bytes("0000")).is_err());
    assert!(CodecConfig::vp8(bytes("0000")).is_err());
}

#[test]
fn configurations_are_stored_as_json_with_their_record() {
    let vp9 = CodecConfig::vp9(bytes("000b820202020000")).expect("a record");
    let sized = r#"{"codec":"VP9","vpcc":"000b820202020000","dimensions":[322,182]}"#;
    let vp8 = r#"{"codec":"VP8","vpcc":"000a820101010000","dimensions":[322,182]}"#;
    let stored = [
        (serde_json::from_str(vp8).expect("a configuration"), vp8),
        (aac("1190"), r#"{"codec":"AAC","asc":"1190"}"#),
        (vp9, r#"{"codec":"VP9","vpcc":"000b820202020000"}"#),
        (serde_json::from_str(sized).expect("a configuration"), sized),
        (CodecConfig::av1(bytes("81000c00")).expect("a record"), r#"{"codec":"AV1","av1c":"81000c00"}"#),
        (
            CodecConfig::opus_from_id_header(OPUS_HEAD).expect("a header"),
            r#"{"codec":"Opus","id_header":"4f707573486561640102380180bb000000ff00"}"#,
        ),
        (
            CodecConfig::mp3(&[0xff, 0xfb, 0x90, 0x64, 1, 2]).expect("a header"),
            r#"{"codec":"MP3","frame_header":"fffb9064"}"#,
        ),
    ];
    for (config, json) in stored {
        assert_eq!(serde_json::to_string(&config).expect("JSON"), json);
        assert_eq!(serde_json::from_str::<CodecConfig>(json).expect("a configuration"), config);
    }
    assert!(serde_json::from_str::<CodecConfig>(r#"{"codec":"AAC","asc":"11"}"#).is_err());
    assert!(serde_json::from_str::<CodecConfig>(r#"{"codec":"AAC","asc":"xy"}"#).is_err());
}
