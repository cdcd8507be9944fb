//! A real broadcast, end to end: ffmpeg in, hooks and files out, judged by ffprobe and a decoder that
//! reads the number burnt into every frame.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mediahooks_receiver::verify::Verifier;
use mediahooks_testkit::ffmpeg::{self, Broadcast};
use mediahooks_testkit::{Received, Rest, ScriptedReceiver, ServerOptions, TestServer, eventually};
use serde_json::{Value, json};

async fn start() -> TestServer {
    ServerOptions::new(env!("CARGO_BIN_EXE_mediahooks")).start().await
}

/// A moment of a JSON reply, in microseconds.
fn micros(time: &Value) -> i64 {
    let time: mediahooks_model::Timestamp = time.as_str().expect("a time").parse().expect("a time");
    time.as_micros()
}

fn moment(micros: i64) -> String {
    mediahooks_model::Timestamp::from_micros(micros).to_string()
}

async fn completed(rest: &Rest, id: &str) -> Value {
    eventually("the asset is complete", async || {
        let asset = rest.get(&format!("/api/v3/media/assets/{id}")).await;
        assert_ne!(asset["status"], "error", "{asset}");
        (asset["status"] == "complete").then_some(asset)
    })
    .await
}

async fn save(rest: &Rest, asset: &Value, directory: &Path) -> PathBuf {
    let id = asset["id"].as_str().expect("an id");
    let file = rest.download(id).await;
    assert_eq!(asset["metadata"]["sizes"]["mp4"], file.len());
    let path = directory.join(format!("{id}.mp4"));
    std::fs::write(&path, file).expect("the file can be written");
    path
}

/// The frames that a player shows; both decoders have to agree and to have nothing to say.
fn frames(path: &Path) -> Vec<u32> {
    let shown = ffmpeg::frame_numbers(&ffmpeg::ffmpeg(), path);
    for program in [ffmpeg::ffmpeg(), ffmpeg::ffmpeg9()] {
        assert_eq!(ffmpeg::complaints(&program, path), "");
        assert_eq!(ffmpeg::frame_numbers(&program, path), shown);
    }
    shown
}

fn assert_genuine(hooks: &[Received], secret: &str) {
    let verifier = Verifier::new([secret]).expect("a secret");
    for hook in hooks {
        let verified = verifier.verify(&hook.headers, &hook.body, SystemTime::now());
        assert!(verified.is_ok(), "{verified:?} {:?}", hook.headers);
        assert!(hook.header("x-millicast-signature").starts_with("sha1="));
    }
}

fn kinds_of(hooks: &[Received], subject: &str) -> Vec<String> {
    hooks.iter().filter(|hook| hook.subject() == subject).map(Received::kind).collect()
}

#[tokio::test]
async fn a_broadcast_is_recorded_clipped_to_the_frame_and_told_about() {
    let mut server = start().await;
    let receiver = ScriptedReceiver::start().await;
    let rest = server.rest();
    let webhook = rest.add_webhook(&receiver.url()).await;
    let token = rest.create_token("stage").await;
    let directory = tempfile::tempdir().expect("a directory");

    let live = Broadcast::live(8).publish(&ffmpeg::ffmpeg(), &server.publish_url("stage", &token));
    receiver.wait_for_kind("media.processing").await;
    // A clip of what is live now: the last second and a half, up to what has been received.
    let now = mediahooks_model::Timestamp::EPOCH
        .plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"));
    let start = now.minus(Duration::from_millis(1200)).to_string();
    let body = json!({"streamName": "stage", "startTime": start, "name": "last second"});
    let clip = rest.post("/api/v3/media/assets", body).await[0].clone();
    let live_clip = completed(&rest, clip["id"].as_str().expect("an id")).await;
    live.finish().await;
    receiver.wait_for_kind("feeds.ended").await;

    let recording = rest.get("/api/v3/media/assets?type=recording").await[0].clone();
    let recording = completed(&rest, recording["id"].as_str().expect("an id")).await;
    let path = save(&rest, &recording, directory.path()).await;
    assert_eq!(frames(&path), (0..240).collect::<Vec<_>>());
    let shown = frames(&save(&rest, &live_clip, directory.path()).await);
    assert!(shown.windows(2).all(|pair| pair[1] == pair[0] + 1), "{shown:?}");
    // Fewer than there are in that time where the encoder has only begun.
    let asked_us = micros(&live_clip["stopTime"]) - micros(&live_clip["startTime"]);
    let most = usize::try_from(asked_us * 30 / 1_000_000).expect("it is short") + 1;
    assert!((1..=most).contains(&shown.len()), "{shown:?} of {asked_us} us");

    check_clips(&rest, &recording, &path, directory.path()).await;

    let hooks = receiver.accepted();
    assert_genuine(&hooks, webhook["secret"].as_str().expect("a secret"));
    for asset in [&recording, &live_clip] {
        let subject = asset["id"].as_str().expect("an id");
        assert_eq!(kinds_of(&hooks, subject), ["media.processing", "media.completed"]);
    }
    let completed = hooks.iter().find(|hook| {
        hook.kind() == "media.completed" && hook.subject() == recording["id"].as_str().expect("an id")
    });
    let body = completed.expect("it came").json();
    assert_eq!(body["data"]["metadata"]["durationMs"], recording["metadata"]["durationMs"]);
    assert_eq!(body["data"]["metadata"]["tracks"][0]["codec"], "H264");
    assert_eq!(body["data"]["streamName"], "stage");
    let stopped = server.stop().await;
    assert!(stopped.success(), "{stopped}");
}

/// Clips of the finished broadcast, each between two frames chosen anywhere in a group of pictures:
/// exactly those frames are shown.
async fn check_clips(rest: &Rest, recording: &Value, path: &Path, directory: &Path) {
    // When frame 0 was captured: the file begins with what came first, sound perhaps.
    let probed = ffmpeg::probe(path);
    let video =
        probed["streams"].as_array().expect("streams").iter().find(|stream| stream["codec_type"] == "video");
    let lead: f64 =
        video.expect("a video")["start_time"].as_str().expect("a time").parse().expect("a number");
    let first = micros(&recording["metadata"]["startTime"]) + (lead * 1e6) as i64;
    for (from, to) in [(0, 239), (30, 59), (31, 90), (47, 133), (89, 178), (100, 235)] {
        // Half a frame before and after: the map between the clocks may move by a millisecond a second.
        let start = moment(first + (i64::from(from) * 2 - 1) * 1_000_000 / 60);
        let stop = moment(first + (i64::from(to) * 2 + 1) * 1_000_000 / 60);
        let body = json!({"streamName": "stage", "startTime": start, "stopTime": stop});
        let clip = rest.post("/api/v3/media/assets", body).await[0].clone();
        assert_eq!(clip["status"], "complete");
        let shown = frames(&save(rest, &clip, directory).await);
        assert_eq!(shown, (from..=to).collect::<Vec<u32>>(), "{clip}");
        let expected_ms = i64::from(to - from + 1) * 1000 / 30;
        let duration_ms = clip["metadata"]["durationMs"].as_i64().expect("a duration");
        assert!((duration_ms - expected_ms).abs() <= 2, "{duration_ms} instead of {expected_ms}");
    }
}

#[tokio::test]
async fn the_address_form_of_obs_is_taken_and_a_wrong_token_is_told() {
    let server = start().await;
    let rest = server.rest();
    let token = rest.create_token("obs/stage").await;
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/sample.flv");
    // OBS: the server address on one side, name and query as the stream key on the other.
    let publish = async |key: String| {
        tokio::process::Command::new(ffmpeg::ffmpeg())
            .args(["-v", "error", "-i"])
            .arg(&sample)
            .args(["-t", "2", "-c", "copy", "-f", "flv", "-rtmp_app", "v2/pub", "-rtmp_playpath", &key])
            .arg(format!("rtmp://{}/", server.rtmp()))
            .output()
            .await
            .expect("ffmpeg runs")
    };
    let taken = publish(format!("obs/stage?token={token}")).await;
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let refused = publish(format!("obs/stage?token={}", "ab".repeat(32))).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("Unauthorized: Invalid token"), "{said}");
    let log = server.log().join("\n");
    assert!(log.contains("Invalid token") && !log.contains(&"ab".repeat(32)), "{log}");
    eventually("the recording is complete", async || {
        let recordings =
            rest.get("/api/v3/media/assets?type=recording&streamName=obs/stage&status=complete").await;
        recordings.as_array().is_some_and(|found| found.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn stopping_the_server_completes_what_is_live_and_exits_well() {
    let mut server = start().await;
    let receiver = ScriptedReceiver::start().await;
    let rest = server.rest();
    rest.add_webhook(&receiver.url()).await;
    let token = rest.create_token("stage").await;
    let live = Broadcast::live(30).publish(&ffmpeg::ffmpeg(), &server.publish_url("stage", &token));
    receiver.wait_for_kind("media.processing").await;
    let status = server.stop().await;
    assert!(status.success(), "{status}");
    let kinds: Vec<String> = receiver.accepted().iter().map(Received::kind).collect();
    assert!(kinds.contains(&"media.completed".into()) && kinds.contains(&"feeds.ended".into()), "{kinds:?}");
    live.kill().await;
    server.restart().await;
    let recording = rest.get("/api/v3/media/assets?type=recording").await[0].clone();
    assert_eq!(recording["status"], "complete");
}
