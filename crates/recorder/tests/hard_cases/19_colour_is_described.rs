//! A real encoder describes its colours: full range, BT.709, or HDR in BT.2020 with PQ; in the bitstream, or
//! beside it as Enhanced RTMP has it.
//!
//! Kept: the description, in the bitstream as it was sent and in the file's own boxes. What was told beside the
//! bitstream is written where that says nothing, and does not cut the recording.

use std::path::Path;
use std::process::Command;

use bytes::BytesMut;
use mediahooks_media::flv::amf0::{self, Value as Amf};
use mediahooks_testkit::ffmpeg::{Broadcast, complaints, ffmpeg9, probe, succeed};
use mediahooks_testkit::synthetic::{Tag, read_tags, recorded};
use serde_json::Value;

use crate::stage::Stage;

async fn probed(name: &str, codecs: &[&str]) -> Value {
    let stage = Stage::new().await;
    let codecs = codecs.iter().map(|word| (*word).to_owned()).collect();
    let tags = recorded(name, &ffmpeg9(), &Broadcast { codecs, ..Broadcast::fast(2) });
    stage.broadcast(&tags).await;
    let path = stage.bench.directory.path().join("got.mp4");
    std::fs::write(&path, stage.recording().await.file).unwrap();
    probe(&path)["streams"][0].clone()
}

#[tokio::test]
async fn full_range_stays_full_range() {
    let tags =
        ["-color_range", "pc", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"];
    let codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "30"];
    let stream = probed("full-range", &[&codecs[..], &tags].concat()).await;
    assert_eq!((&stream["color_range"], &stream["color_space"]), (&"pc".into(), &"bt709".into()));
}

#[tokio::test]
async fn hdr_stays_hdr() {
    let params = "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:hdr10=1:\
                  master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400";
    let codecs = [
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p10le",
        "-g",
        "30",
        "-x265-params",
        params,
    ];
    let stream = probed("hdr", &codecs).await;
    assert_eq!(
        (&stream["color_transfer"], &stream["color_primaries"], &stream["pix_fmt"]),
        (&"smpte2084".into(), &"bt2020".into(), &"yuv420p10le".into())
    );
}

/// `VideoPacketType.Metadata` with HDR10.
fn metadata_tag(at: &Tag, codec: &str) -> Tag {
    let numbers = |members: &[(&str, f64)]| {
        Amf::Object(members.iter().map(|(name, number)| ((*name).into(), Amf::Number(*number))).collect())
    };
    let colours = [("colorPrimaries", 9.0), ("transferCharacteristics", 16.0), ("matrixCoefficients", 9.0)];
    let screen = [
        ("redX", 0.68),
        ("redY", 0.32),
        ("greenX", 0.265),
        ("greenY", 0.69),
        ("blueX", 0.15),
        ("blueY", 0.06),
        ("whitePointX", 0.3127),
        ("whitePointY", 0.329),
        ("maxLuminance", 1000.0),
        ("minLuminance", 0.0001),
    ];
    let info = Amf::object([
        ("colorConfig", numbers(&colours)),
        ("hdrCll", numbers(&[("maxFall", 400.0), ("maxCLL", 1000.0)])),
        ("hdrMdcv", numbers(&screen)),
    ]);
    let mut body = BytesMut::from(&[&[0xD4], codec.as_bytes()].concat()[..]);
    amf0::encode_all(&[Amf::string("colorInfo"), info], &mut body);
    Tag { body: body.freeze(), ..at.clone() }
}

#[track_caller]
fn check_hdr10(stream: &Value) {
    let colours = ["color_transfer", "color_primaries", "color_space"].map(|name| &stream[name]);
    assert_eq!(colours, [&"smpte2084".into(), &"bt2020".into(), &Value::from("bt2020nc")], "{stream}");
    check_light(stream);
}

#[track_caller]
fn check_light(stream: &Value) {
    let described = stream["side_data_list"].as_array().expect("side data");
    let of = |kind: &str| described.iter().find(|data| data["side_data_type"] == kind).expect(kind);
    let light = of("Content light level metadata");
    assert_eq!((&light["max_content"], &light["max_average"]), (&1000.into(), &400.into()));
    let screen = of("Mastering display metadata");
    let members = ["red_x", "green_y", "white_point_x", "min_luminance", "max_luminance"];
    let expected = ["34000/50000", "34500/50000", "15635/50000", "1/10000", "10000000/10000"];
    assert_eq!(members.map(|name| &screen[name]), expected.map(Value::from).each_ref(), "{screen}");
}

/// A broadcast without colours in the bitstream, and HDR told in front of each key frame but the first, where it comes
/// a little late.
fn told_beside(name: &str, codec: &str, words: &[&str]) -> Vec<Tag> {
    let codecs = words.iter().chain(&["-g", "30", "-an"]).map(|word| (*word).to_owned()).collect();
    let tags = recorded(name, &ffmpeg9(), &Broadcast { codecs, ..Broadcast::fast(4) });
    let is_key = |tag: &Tag| tag.body.first().is_some_and(|first| first & 0x70 == 0x10);
    let mut told = Vec::new();
    for (number, tag) in tags.iter().enumerate() {
        if is_key(tag) && number > 5 || number == 5 {
            told.push(metadata_tag(tag, codec));
        }
        told.push(tag.clone());
    }
    told
}

/// Records tags in a recorder of their own and puts the file at `path`.
async fn record(tags: &[Tag], path: &Path) -> Value {
    let stage = Stage::new().await;
    stage.broadcast(tags).await;
    std::fs::write(path, stage.recording().await.file).unwrap();
    assert_eq!(complaints(&ffmpeg9(), path), "");
    probe(path)["streams"][0].clone()
}

#[tokio::test]
async fn hdr_told_beside_the_bitstream_stays_hdr() {
    let directory = tempfile::tempdir().unwrap();
    let words = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"];
    let tags = told_beside("h264-without-colours", "avc1", &words);
    check_hdr10(&record(&tags, &directory.path().join("h264.mp4")).await);
}

/// FFmpeg reads what we wrote and tells it over FLV as encoders do.
#[tokio::test]
async fn hdr_told_by_a_real_encoder_stays_hdr() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let words = ["-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-pix_fmt", "yuv420p10le"];
    let tags = told_beside("av1-without-colours", "av01", &words);
    check_light(&record(&tags, &at("ours.mp4")).await);
    let mut copy = Command::new(ffmpeg9());
    succeed(
        copy.args(["-v", "error", "-i"])
            .arg(at("ours.mp4"))
            .args(["-c", "copy"])
            .arg(at("copied.flv"))
            .output(),
    );
    check_light(&record(&read_tags(&at("copied.flv")), &at("again.mp4")).await);
}
