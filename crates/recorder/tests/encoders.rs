//! Real encoders over real RTMP: what they send is kept bit for bit, and a decoder takes the files
//! without a word.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::ffmpeg::{
    decodes_without_a_word, ffmpeg, ffmpeg9, mkvinfo_finds_nothing_wrong, packets, pictures_shown, run,
};
use common::{Bench, SECRET, eventually, token};
use mediahooks_ingest::rtmp::{self, RtmpSettings};
use mediahooks_model::{AssetState, AssetType, Limits, Metadata};
use mediahooks_testkit::ffmpeg::Broadcast;
use mediahooks_testkit::mp4box;
use mediahooks_testkit::synthetic::{send, vp8_and_opus};
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
    let directory = tempfile::tempdir().unwrap();
    // Encoded to a file first, so that it is known what is sent.
    let sent = directory.path().join("sent.flv");
    let (program, file) = (case.program, sent.clone());
    let (inputs, codecs) = (case.inputs.concat(), case.codecs);
    let recorded = record(case.name, async move |url| {
        let publishing = tokio::task::spawn_blocking(move || {
            run(program().args(["-v", "error"]).args(&inputs).args(codecs).args(["-f", "flv"]).arg(&file));
            run(program().args(["-v", "error", "-i"]).arg(&file).args(["-c", "copy", "-f", "flv", &url]));
        });
        publishing.await.unwrap();
    });
    judge(&sent, &recorded.await, case.tracks);
}

/// A recording, and its file under its own extension.
struct Recorded {
    metadata: Metadata,
    file: PathBuf,
    _bench: Bench,
}

/// Records what `publish` sends to the address that it is given.
async fn record(stream: &str, publish: impl AsyncFnOnce(String)) -> Recorded {
    let bench = Bench::with(token(), Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server =
        tokio::spawn(rtmp::serve(listener, bench.recorder.gate(), RtmpSettings::default(), shutdown.clone()));
    publish(format!("rtmp://{address}/v2/pub/{stream}?token={SECRET}")).await;
    let recording = eventually(async || {
        let found = bench.assets(AssetType::Recording).await;
        found.into_iter().find(|asset| asset.state != AssetState::Processing)
    })
    .await;
    shutdown.cancel();
    server.await.unwrap();

    let AssetState::Complete { metadata } = &recording.state else { panic!("{recording:?}") };
    let format = metadata.sizes.keys().next().unwrap();
    let file = bench.directory.path().join(format!("got.{format}"));
    let bytes = bench.file(recording.id).await;
    assert_eq!(metadata.sizes[format], bytes.len() as u64);
    std::fs::write(&file, bytes).unwrap();
    Recorded { metadata: metadata.as_ref().clone(), file, _bench: bench }
}

fn judge(sent: &Path, recorded: &Recorded, tracks: &[&str]) {
    let Recorded { metadata, file: got, .. } = recorded;
    let codecs: Vec<&str> = metadata.tracks.iter().map(|track| track.codec.as_str()).collect();
    assert_eq!(codecs, tracks);
    decodes_without_a_word(ffmpeg9(), got);
    assert!((3960..4100).contains(&metadata.duration_ms.unwrap()), "{metadata:?}");
    let whole: &[&str] = if is_webm(recorded) { &[] } else { &["-ignore_editlist", "1"] };
    for track in &metadata.tracks {
        let stream = if track.kind == "video" { "v" } else { "a" };
        let kept = packets(ffmpeg9(), whole, got, stream);
        assert_eq!(kept, packets(ffmpeg9(), &[], sent, stream), "{stream}");
        if track.kind == "video" {
            assert_eq!(pictures_shown(ffmpeg9(), got), 100);
            assert_eq!((track.width, track.height, track.framerate), (Some(320), Some(180), Some(25.0)));
        }
    }
    if is_webm(recorded) {
        assert_eq!(metadata.format, "WebM");
        decodes_without_a_word(ffmpeg(), got);
        mkvinfo_finds_nothing_wrong(got);
    } else {
        mp4box::finds_nothing_wrong(got);
    }
}

fn is_webm(recorded: &Recorded) -> bool {
    recorded.metadata.sizes.contains_key("webm")
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

/// Alternate reference frames are not shown: they come in one packet with a frame that is.
#[tokio::test]
async fn vp9_with_hidden_frames() {
    let codecs = &["-c:v", "libvpx-vp9", "-cpu-used", "5", "-lag-in-frames", "16", "-auto-alt-ref", "1"];
    check(Case { name: "vp9-alt", program: ffmpeg9, inputs: &[PICTURES], codecs, tracks: &["VP9"] }).await;
}

/// WebM has no AAC.
#[tokio::test]
async fn vp9_and_aac_are_an_mp4() {
    check(Case {
        name: "vp9-aac",
        program: ffmpeg9,
        inputs: &[PICTURES, SOUND],
        codecs: &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "aac"],
        tracks: &["VP9", "AAC"],
    })
    .await;
}

/// FFmpeg encodes it, but cannot write VP8 into FLV: its frames are sent by the publisher of the tests.
#[tokio::test]
async fn vp8_and_opus_by_enhanced_rtmp() {
    let codecs =
        ["-s", "320x180", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"];
    let codecs = codecs.map(str::to_owned).to_vec();
    let broadcast = Broadcast { seconds: 4, rate: 25, codecs, live: false };
    let sent = vp8_and_opus("vp8", &mediahooks_testkit::ffmpeg::ffmpeg9(), &broadcast);
    let recorded = record("vp8-opus", async |url| send(&url, &sent.tags).await.unwrap()).await;
    assert!(is_webm(&recorded));
    judge(&sent.file, &recorded, &["VP8", "Opus"]);
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
