//! Size, colour and pixel shape that we read from the parameter sets of real encoders are those that
//! FFmpeg writes and reads.

mod support;

use std::{fs, path::PathBuf};

use bytes::Bytes;
use mediahooks_media::{
    cmaf::{InitTrack, encode_init},
    codec::CodecConfig,
    colour::{Colour, ColourInfo, ContentLight, MasteringDisplay},
    sample::TrackConfig,
};
use support::{box_payload, ffmpeg, path_str, probe, run};
use tempfile::TempDir;

type Constructor = fn(Bytes) -> Result<CodecConfig, mediahooks_media::error::CodecError>;

/// One picture in a file of FFmpeg.
fn encode(size: &str, args: &[&str]) -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("ffmpeg.mp4");
    let picture = format!("testsrc=size={size}:rate=30:duration=0.1");
    let input = ["-f", "lavfi", "-i", &picture];
    run(&ffmpeg(), &[&input[..], args, &["-y", path_str(&file)]].concat());
    (directory, file)
}

/// An initialization segment for the record in a file of FFmpeg.
fn init_for(file: &[u8], record: &[u8; 4], parse: Constructor) -> (Vec<u8>, CodecConfig) {
    let record = Bytes::copy_from_slice(box_payload(file, record).expect("a record"));
    let codec = parse(record).expect("a configuration from FFmpeg");
    let config = TrackConfig::new(90_000, codec.clone());
    (encode_init(&[InitTrack { track_id: 1, config: &config }]).expect("an initialization segment"), codec)
}

/// Encodes one picture with FFmpeg and compares our description with FFmpeg's own file.
fn check(record: &[u8; 4], parse: Constructor, size: &str, args: &[&str]) {
    let (_directory, path) = encode(size, args);
    let theirs = fs::read(&path).expect("the file");
    let (ours, codec) = init_for(&theirs, record, parse);
    let (width, height) = codec.dimensions().expect("a size");
    assert_eq!(probe(&path, "v:0", "width,height"), format!("{width},{height}"), "{args:?}");
    assert_eq!(size, format!("{width}x{height}"));
    assert_eq!(box_payload(&ours, record), box_payload(&theirs, record));
    assert_eq!(box_payload(&ours, b"colr"), box_payload(&theirs, b"colr"), "colour of {args:?}");
    // FFmpeg also writes the shape of square pixels.
    let shape = box_payload(&theirs, b"pasp").filter(|shape| *shape != [0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(box_payload(&ours, b"pasp"), shape, "pixel shape of {args:?}");
}

/// FFmpeg writes no colour box here, and players that read only the container show it too dark.
#[test]
fn full_range_is_kept_when_it_is_all_that_is_known() {
    let (_directory, path) = encode("321x181", &["-c:v", "libx264", "-pix_fmt", "gray"]);
    let (ours, codec) = init_for(&fs::read(&path).expect("the file"), b"avcC", CodecConfig::h264);
    assert_eq!(codec.dimensions(), Some((321, 181)));
    assert_eq!(box_payload(&ours, b"colr"), Some(&b"nclx\0\x02\0\x02\0\x02\x80"[..]));
}

#[test]
fn pictures_of_an_absurd_shape_are_kept_as_wide_as_can_be_said() {
    let shape = ["-c:v", "libx264", "-vf", "setsar=100/1"];
    let (_directory, path) = encode("2048x180", &shape);
    let (ours, codec) = init_for(&fs::read(&path).expect("the file"), b"avcC", CodecConfig::h264);
    assert_eq!(codec.pixel_aspect_ratio(), Some((100, 1)));
    let header = box_payload(&ours, b"tkhd").expect("the header of a track");
    assert_eq!(header[header.len() - 8..], [0xff, 0xff, 0xff, 0xff, 0, 180, 0, 0]);
}

fn check_h264(size: &str, args: &[&str]) {
    check(b"avcC", CodecConfig::h264, size, &[&["-c:v", "libx264"], args].concat());
}

fn check_h265(size: &str, args: &[&str]) {
    check(b"hvcC", CodecConfig::h265, size, &[&["-c:v", "libx265"], args].concat());
}

fn check_av1(size: &str, args: &[&str]) {
    check(b"av1C", CodecConfig::av1, size, &[&["-c:v", "libaom-av1", "-cpu-used", "8"], args].concat());
}

const BT709: [&str; 6] = ["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709"];
const HLG: [&str; 6] =
    ["-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc"];

#[test]
fn h264_in_every_shape() {
    let yuv420 = ["-pix_fmt", "yuv420p"];
    let with = |args: &[&'static str]| [&yuv420[..], args].concat();
    check_h264("320x180", &yuv420);
    check_h264("1918x1078", &yuv420);
    check_h264("321x181", &["-pix_fmt", "yuv444p"]);
    check_h264("322x181", &["-pix_fmt", "yuv422p"]);
    check_h264("322x182", &["-pix_fmt", "yuv420p10le"]);
    check_h264("720x576", &with(&["-vf", "setsar=64/45", "-flags", "+ilme+ildct"]));
    check_h264("720x480", &with(&["-vf", "setsar=4/3", "-profile:v", "baseline"]));
    check_h264(
        "320x180",
        &with(&["-x264-params", "cqm=jvt:bframes=0:nal-hrd=vbr:vbv-maxrate=900:vbv-bufsize=900"]),
    );
    check_h264("320x180", &with(&BT709));
    check_h264("320x180", &[&with(&HLG)[..], &["-vf", "setsar=3/2"]].concat());
    check_h264("320x180", &[&["-pix_fmt", "yuvj420p"], &BT709[..]].concat());
}

#[test]
fn h265_in_every_shape() {
    let yuv420 = ["-pix_fmt", "yuv420p", "-x265-params", "log-level=none"];
    let with = |args: &[&'static str]| [&yuv420[..], args].concat();
    check_h265("320x180", &yuv420);
    check_h265("1918x1078", &yuv420);
    check_h265("321x181", &["-pix_fmt", "yuv444p", "-x265-params", "log-level=none"]);
    check_h265("322x182", &["-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none"]);
    check_h265("720x576", &with(&["-vf", "setsar=64/45"]));
    check_h265(
        "320x180",
        &["-pix_fmt", "yuv420p", "-x265-params", "log-level=none:scaling-list=default:temporal-layers=1"],
    );
    check_h265(
        "320x180",
        &[
            "-pix_fmt",
            "yuv420p",
            "-x265-params",
            "log-level=none:no-amp=1:ref=5:bframes=8:hrd=1:vbv-maxrate=900:vbv-bufsize=900",
        ],
    );
    check_h265("320x180", &with(&BT709));
    check_h265("320x180", &[&with(&HLG)[..], &["-vf", "setsar=3/2"]].concat());
    check_h265("320x180", &[&with(&BT709)[..], &["-color_range", "pc"]].concat());
}

#[test]
fn av1_in_every_shape() {
    let yuv420 = ["-pix_fmt", "yuv420p"];
    let with = |args: &[&'static str]| [&yuv420[..], args].concat();
    check_av1("320x180", &with(&BT709));
    check_av1("321x181", &[&["-pix_fmt", "yuv420p10le"], &HLG[..]].concat());
    check_av1("320x180", &[&["-pix_fmt", "yuv444p"], &BT709[..]].concat());
    check_av1("320x180", &[&["-pix_fmt", "gray"], &BT709[..]].concat());
    check_av1("320x180", &[&with(&BT709)[..], &["-color_range", "pc", "-usage", "realtime"]].concat());
    check_av1("320x180", &[&with(&BT709)[..], &["-still-picture", "1"]].concat());
}

/// What a publisher told beside the record fills what the record leaves open, and no more.
#[test]
fn what_was_told_fills_what_the_record_leaves_open() {
    let told = ColourInfo {
        colour: Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false }),
        mastering: Some(MasteringDisplay {
            red: (34_000, 16_000),
            green: (13_250, 34_500),
            blue: (7_500, 3_000),
            white: (15_635, 16_450),
            luminance_max: 10_000_000,
            luminance_min: 50,
        }),
        light: Some(ContentLight { pixel_max: 1000, picture_max: 400 }),
    };
    let file_of = |args: &[&str]| {
        let (_directory, path) = encode("320x180", &[&["-c:v", "libx264"], args].concat());
        let record = box_payload(&fs::read(&path).expect("the file"), b"avcC").expect("a record").to_vec();
        let codec = CodecConfig::h264(record.into()).expect("a configuration from FFmpeg");
        let config = TrackConfig { told, ..TrackConfig::new(90_000, codec) };
        encode_init(&[InitTrack { track_id: 1, config: &config }]).expect("an initialization segment")
    };
    let silent = file_of(&["-pix_fmt", "yuv420p"]);
    assert_eq!(box_payload(&silent, b"colr"), Some(&b"nclx\0\x09\0\x10\0\x09\0"[..]));
    assert_eq!(box_payload(&silent, b"clli"), Some(&b"\x03\xe8\x01\x90"[..]));
    let mastering = box_payload(&silent, b"mdcv").expect("a mastering display");
    assert_eq!(hex::encode(mastering), "33c286c41d4c0bb884d03e803d1340420098968000000032");
    let own = file_of(&[&["-pix_fmt", "yuv420p"], &BT709[..]].concat());
    assert_eq!(box_payload(&own, b"colr"), Some(&b"nclx\0\x01\0\x01\0\x01\0"[..]));
    let full_range = file_of(&["-pix_fmt", "gray"]);
    assert_eq!(box_payload(&full_range, b"colr"), Some(&b"nclx\0\x09\0\x10\0\x09\x80"[..]));
}
