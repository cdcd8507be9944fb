//! Real encoders over real RTMP: what they send is kept bit for bit, and a decoder takes the files
//! without a word.

mod common;

use std::path::Path;
use std::process::Command;

use common::ffmpeg::{decodes_without_a_word, ffmpeg, ffmpeg9, packets, pictures_shown, run};
use common::{Bench, SECRET, eventually};
use mediahooks_ingest::rtmp::{self, RtmpSettings};
use mediahooks_model::{AssetState, AssetType, Metadata};
use mediahooks_testkit::mp4box;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const PICTURES: &[&str] = &["-f", "lavfi", "-i", "testsrc=size=320x180:rate=25:duration=4"];
const SOUND: &[&str] = &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=4"];

/// One encoder to try.
struct Case {
    name: &'static str,
    program: fn() -> Command,
    inputs: &'static [&'static [&'static str]],
    codecs: &'static [&'static str],
    tracks: &'static [&'static str],
}

const X264: &[&str] =
    &["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "50", "-bf", "2"];
const X264_AAC: &[&str] =
    &["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "50", "-bf", "2", "-c:a", "aac"];

/// Publishes what `case` encodes and checks what comes of it.
async fn check(case: Case) {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server =
        tokio::spawn(rtmp::serve(listener, bench.recorder.gate(), RtmpSettings::default(), shutdown.clone()));

    // Encoded to a file first, so that it is known what is sent.
    let sent = bench.directory.path().join("sent.flv");
    let url = format!("rtmp://{address}/v2/pub/{}?token={SECRET}", case.name);
    let (program, inputs, codecs, file) = (case.program, case.inputs.concat(), case.codecs, sent.clone());
    tokio::task::spawn_blocking(move || {
        run(program().args(["-v", "error"]).args(&inputs).args(codecs).args(["-f", "flv"]).arg(&file));
        run(program().args(["-v", "error", "-i"]).arg(&file).args(["-c", "copy", "-f", "flv", &url]));
    })
    .await
    .unwrap();
    let recording = eventually(async || {
        let found = bench.assets(AssetType::Recording).await;
        found.into_iter().find(|asset| asset.state != AssetState::Processing)
    })
    .await;
    shutdown.cancel();
    server.await.unwrap();

    let AssetState::Complete { metadata } = &recording.state else { panic!("{recording:?}") };
    let codecs: Vec<&str> = metadata.tracks.iter().map(|track| track.codec.as_str()).collect();
    assert_eq!(codecs, case.tracks);
    let got = bench.directory.path().join("got.mp4");
    std::fs::write(&got, bench.file(recording.id).await).unwrap();
    judge(&sent, &got, metadata);
}

fn judge(sent: &Path, got: &Path, metadata: &Metadata) {
    decodes_without_a_word(ffmpeg9(), got);
    mp4box::finds_nothing_wrong(got);
    assert!((3960..4100).contains(&metadata.duration_ms.unwrap()), "{metadata:?}");
    for track in &metadata.tracks {
        let stream = if track.kind == "video" { "v" } else { "a" };
        let kept = packets(ffmpeg9(), &["-ignore_editlist", "1"], got, stream);
        assert_eq!(kept, packets(ffmpeg9(), &[], sent, stream), "{stream}");
        if track.kind == "video" {
            assert_eq!(pictures_shown(ffmpeg9(), got), 100);
            assert_eq!((track.width, track.height, track.framerate), (Some(320), Some(180), Some(25.0)));
        }
    }
}

#[tokio::test]
async fn h264_with_b_frames_and_aac() {
    check(Case {
        name: "h264-aac",
        program: ffmpeg,
        inputs: &[PICTURES, SOUND],
        codecs: X264_AAC,
        tracks: &["H264", "AAC"],
    })
    .await;
}

#[tokio::test]
async fn h264_alone() {
    let codecs = X264;
    check(Case { name: "h264", program: ffmpeg, inputs: &[PICTURES], codecs, tracks: &["H264"] }).await;
}

#[tokio::test]
async fn aac_alone() {
    let codecs = &["-c:a", "aac"];
    check(Case { name: "aac", program: ffmpeg, inputs: &[SOUND], codecs, tracks: &["AAC"] }).await;
}

#[tokio::test]
async fn mp3_alone() {
    let codecs = &["-c:a", "libmp3lame", "-ar", "44100"];
    check(Case { name: "mp3", program: ffmpeg, inputs: &[SOUND], codecs, tracks: &["MP3"] }).await;
}

#[tokio::test]
async fn h265_and_aac_by_enhanced_rtmp() {
    check(Case {
        name: "h265-aac",
        program: ffmpeg9,
        inputs: &[PICTURES, SOUND],
        codecs: &["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", "-c:a", "aac"],
        tracks: &["H265", "AAC"],
    })
    .await;
}

#[tokio::test]
async fn av1_and_opus_by_enhanced_rtmp() {
    check(Case {
        name: "av1-opus",
        program: ffmpeg9,
        inputs: &[PICTURES, SOUND],
        codecs: &["-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1", "-c:a", "libopus"],
        tracks: &["AV1", "Opus"],
    })
    .await;
}

#[tokio::test]
async fn vp9_and_opus_by_enhanced_rtmp() {
    check(Case {
        name: "vp9-opus",
        program: ffmpeg9,
        inputs: &[PICTURES, SOUND],
        codecs: &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"],
        tracks: &["VP9", "Opus"],
    })
    .await;
}

/// An encoder that does not pace itself leaves with megabytes still on their way, and without reading
/// what it was last told: all of it is kept.
#[tokio::test]
async fn a_file_sent_at_once_is_kept_to_its_end() {
    const NOISE: &[&str] =
        &["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=4,noise=alls=100:allf=t"];
    let codecs = &["-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-pix_fmt", "yuv444p", "-g", "25"];
    check(Case { name: "noise", program: ffmpeg9, inputs: &[NOISE], codecs, tracks: &["H264"] }).await;
}
