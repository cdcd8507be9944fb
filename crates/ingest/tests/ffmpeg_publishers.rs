//! What real encoders publish arrives whole: every packet, its size, its key flag and its time,
//! judged by `ffprobe` on the file that was published.

mod common;

use std::path::{Path, PathBuf};

use common::ffmpeg::{self, Packet};
use common::{FeedLog, Server};
use mediahooks_ingest::gate::PublishEnd;
use mediahooks_media::codec::CodecConfig;
use mediahooks_media::sample::{Sample, TrackConfig, TrackKind};

/// FLV stamps are whole milliseconds: two of them, first and current, are rounded.
const STAMP_ERROR_SECONDS: f64 = 0.0015;

async fn check(program: PathBuf, codecs: &[&str], expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broadcast.mp4");
    ffmpeg::encode(&program, 10, codecs, &path);
    let mut server = Server::start().await;
    ffmpeg::succeed(ffmpeg::publish(&program, &path, &server.url("cam")).await);
    let feed = server.next_feed().await;
    server.stop().await;

    assert_eq!(feed.end, PublishEnd::Unpublished);
    assert_eq!(feed.request.target.stream_name, "cam");
    assert!(feed.request.encoder.as_deref().unwrap_or_default().starts_with("FMLE/3.0"));
    assert_eq!(feed.ignored(), [""; 0]);
    let names: Vec<&str> = [TrackKind::Video, TrackKind::Audio]
        .iter()
        .flat_map(|kind| feed.configs(*kind))
        .map(|config| config.codec.name())
        .collect();
    assert_eq!(names, expected, "one configuration per track");
    check_track(&feed, TrackKind::Video, &path);
    check_track(&feed, TrackKind::Audio, &path);
}

fn check_track(feed: &FeedLog, kind: TrackKind, path: &Path) {
    let packets = ffmpeg::probe(path, if kind == TrackKind::Video { "v" } else { "a" });
    let samples = feed.samples(kind);
    assert_eq!(samples.len(), packets.len(), "{kind:?} samples");
    let [config] = feed.configs(kind)[..] else {
        assert!(packets.is_empty(), "{kind:?} has packets but no configuration");
        return;
    };
    assert!(samples[0].is_sync);
    for (sample, packet) in samples.iter().zip(&packets) {
        assert_eq!((sample.data.len(), sample.is_sync), (packet.size_bytes, packet.is_key));
        let dts = seconds(sample.dts.0 - samples[0].dts.0, config);
        let pts = seconds(sample.pts().0 - samples[0].pts().0, config);
        assert!((dts - (packet.dts_seconds - packets[0].dts_seconds)).abs() <= STAMP_ERROR_SECONDS);
        assert!((pts - (packet.pts_seconds - packets[0].pts_seconds)).abs() <= STAMP_ERROR_SECONDS);
    }
    if kind == TrackKind::Audio {
        check_audio_is_gapless(&samples, config, &packets);
    }
}

fn seconds(ticks: i64, config: &TrackConfig) -> f64 {
    ticks as f64 / f64::from(config.timescale)
}

fn check_audio_is_gapless(samples: &[&Sample], config: &TrackConfig, packets: &[Packet]) {
    let mut expected = samples[0].dts.0;
    for sample in samples {
        assert_eq!(sample.dts.0, expected, "audio frames follow each other to the tick");
        expected += i64::from(config.codec.audio_frame_len(&sample.data).unwrap());
    }
    let (first, last) = (packets[0], packets[packets.len() - 1]);
    let span = seconds(samples[samples.len() - 1].dts.0 - samples[0].dts.0, config);
    assert!(span > 9.9);
    assert!(
        (span - (last.dts_seconds - first.dts_seconds)).abs() < 0.000_1,
        "audio has not drifted after 10 s"
    );
}

const H264: [&str; 10] =
    ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "3", "-g", "60", "-pix_fmt", "yuv420p"];
const HEVC: [&str; 10] = [
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-x265-params",
    "log-level=error:keyint=60:bframes=3",
    "-tag:v",
    "hvc1",
    "-pix_fmt",
    "yuv420p",
];
const AV1: [&str; 10] =
    ["-c:v", "libsvtav1", "-preset", "12", "-g", "60", "-svtav1-params", "rc=0", "-pix_fmt", "yuv420p"];
const VP9: [&str; 10] =
    ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "60", "-pix_fmt", "yuv420p"];
const AAC: [&str; 2] = ["-c:a", "aac"];
const OPUS: [&str; 2] = ["-c:a", "libopus"];

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_5_h264_with_b_frames_and_aac() {
    check(ffmpeg::ffmpeg(), &[&H264[..], &AAC].concat(), &["H264", "AAC"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_5_audio_only() {
    check(ffmpeg::ffmpeg(), &[&["-vn"][..], &AAC].concat(), &["AAC"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_5_video_only() {
    check(ffmpeg::ffmpeg(), &[&["-an"][..], &H264].concat(), &["H264"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_5_mp3() {
    check(ffmpeg::ffmpeg(), &["-vn", "-c:a", "libmp3lame", "-ar", "44100"], &["MP3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_9_h264_and_aac() {
    check(ffmpeg::ffmpeg9(), &[&H264[..], &AAC].concat(), &["H264", "AAC"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_9_hevc_and_aac() {
    check(ffmpeg::ffmpeg9(), &[&HEVC[..], &AAC].concat(), &["H265", "AAC"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_9_av1_and_opus() {
    check(ffmpeg::ffmpeg9(), &[&AV1[..], &OPUS].concat(), &["AV1", "Opus"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_9_vp9_and_opus() {
    check(ffmpeg::ffmpeg9(), &[&VP9[..], &OPUS].concat(), &["VP9", "Opus"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_prints_why_it_was_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tone.mp4");
    ffmpeg::encode(&ffmpeg::ffmpeg(), 1, &["-vn", "-c:a", "aac"], &path);
    let server = Server::start().await;
    let cases = [
        ("v2/pub/cam?token=bad0", "the publish token is unknown; copy it again"),
        ("v2/pub/cam?token=nonsense", "the publish token is malformed"),
        ("live/cam?token=00c0ffee", "this server takes streams at rtmp://HOST/v2/pub"),
    ];
    for (path_and_query, message) in cases {
        let url = format!("rtmp://{}/{path_and_query}", server.address);
        for program in [ffmpeg::ffmpeg(), ffmpeg::ffmpeg9()] {
            let output = ffmpeg::publish(&program, &path, &url).await;
            let printed = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success());
            assert!(printed.contains(message), "{program:?} printed: {printed}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_of_vp9_comes_from_its_first_key_frame() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vp9.mp4");
    let program = ffmpeg::ffmpeg9();
    ffmpeg::encode(&program, 1, &[&["-an"][..], &VP9].concat(), &path);
    let mut server = Server::start().await;
    ffmpeg::succeed(ffmpeg::publish(&program, &path, &server.url("cam")).await);
    let feed = server.next_feed().await;
    server.stop().await;
    let [config] = feed.configs(TrackKind::Video)[..] else { panic!("one configuration") };
    assert!(matches!(config.codec, CodecConfig::Vp9(_)));
    assert_eq!(config.codec.dimensions(), Some((320, 180)));
}
