//! Real encoders and decoders: ffmpeg as publisher and as judge.
//!
//! Every frame of a test broadcast carries its number in its upper edge, 16 squares of 16x16 pixels, the
//! lowest bit at the left, white for 1: readable after any lossy codec. `assets/sample.flv` has it too.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tokio::process::Child;

use crate::patiently;

const MISSING: &str = "is needed by this test; run scripts/install-test-tools.sh";

/// Squares in the upper edge, and so bits of a frame number.
const BITS: usize = 16;

/// ffmpeg of the system: of Debian 12 it is version 5.1, which knows no Enhanced RTMP.
pub fn ffmpeg() -> PathBuf {
    let found = Command::new("ffmpeg").arg("-version").output();
    assert!(found.is_ok(), "ffmpeg {MISSING}");
    PathBuf::from("ffmpeg")
}

/// FFmpeg 9: named by `MEDIAHOOKS_FFMPEG9`, or the one in the Python package `imageio-ffmpeg`.
pub fn ffmpeg9() -> PathBuf {
    if let Some(path) = std::env::var_os("MEDIAHOOKS_FFMPEG9") {
        return path.into();
    }
    let script = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
    let output = Command::new("python3").args(["-c", script]).output();
    let output = output.unwrap_or_else(|_| panic!("python3 with imageio-ffmpeg {MISSING}"));
    assert!(output.status.success(), "the Python package imageio-ffmpeg (FFmpeg 9) {MISSING}");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// H.264 with B-frames and a key frame each second, and AAC: what most encoders send.
pub const H264_AAC: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "veryfast",
    "-bf",
    "2",
    "-g",
    "30",
    "-sc_threshold",
    "0",
    "-pix_fmt",
    "yuv420p",
    "-c:a",
    "aac",
    "-b:a",
    "96k",
];

/// What a test broadcast is.
#[derive(Debug, Clone)]
pub struct Broadcast {
    /// Seconds.
    pub seconds: u32,
    /// Frames per second.
    pub rate: u32,
    /// In real time; otherwise as fast as the server takes it.
    pub live: bool,
    /// Codecs and their options, such as [`H264_AAC`].
    pub codecs: Vec<String>,
}

impl Broadcast {
    /// [`H264_AAC`] at 30 frames per second, in real time.
    pub fn live(seconds: u32) -> Self {
        let codecs = H264_AAC.iter().map(|word| (*word).to_owned()).collect();
        Self { seconds, rate: 30, live: true, codecs }
    }

    /// [`Broadcast::live`], as fast as the server takes it.
    pub fn fast(seconds: u32) -> Self {
        Self { live: false, ..Self::live(seconds) }
    }

    /// The arguments of ffmpeg up to the output.
    fn arguments(&self) -> Vec<String> {
        let Self { seconds, rate, .. } = self;
        let picture = format!("testsrc2=size=320x180:rate={rate}:duration={seconds}");
        let bits = format!(
            "color=c=black:size=256x16:rate={rate}:duration={seconds},format=yuv420p,\
             geq=lum='if(mod(floor(N/pow(2,floor(X/16))),2),235,16)':cb=128:cr=128"
        );
        let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
        let mut arguments = vec!["-hide_banner", "-loglevel", "error", "-nostdin", "-y"];
        if self.live {
            arguments.push("-re");
        }
        for source in [&picture, &bits, &tone] {
            arguments.extend(["-f", "lavfi", "-i", source]);
        }
        arguments.extend(["-filter_complex", "[0:v][1:v]overlay=0:0[v]", "-map", "[v]", "-map", "2:a"]);
        arguments.into_iter().map(str::to_owned).chain(self.codecs.iter().cloned()).collect()
    }

    /// Starts to publish it to `url`.
    pub fn publish(&self, program: &Path, url: &str) -> Publishing {
        let mut command = tokio::process::Command::new(program);
        command.args(self.arguments()).args(["-f", "flv", url]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        Publishing { child: command.spawn().expect("ffmpeg can be started") }
    }

    /// Encodes it into a file.
    pub fn encode(&self, program: &Path, path: &Path) {
        succeed(Command::new(program).args(self.arguments()).arg(path).output());
    }
}

/// An encoder that publishes.
#[derive(Debug)]
pub struct Publishing {
    child: Child,
}

impl Publishing {
    /// Waits until it has sent everything; it has to have succeeded.
    pub async fn finish(self) {
        let output = self.output().await;
        assert!(output.status.success(), "ffmpeg failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Waits until it has ended, however it did.
    pub async fn output(self) -> Output {
        patiently("the encoder ends", self.child.wait_with_output()).await.expect("ffmpeg can be awaited")
    }

    /// Kills it: the connection ends without a word.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("ffmpeg can be killed");
    }
}

/// Publishes a file as it is, in real time or as fast as the server takes it.
pub fn publish_file(program: &Path, path: &Path, live: bool, url: &str) -> Publishing {
    let mut command = tokio::process::Command::new(program);
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin"]);
    if live {
        command.arg("-re");
    }
    command.arg("-i").arg(path).args(["-c", "copy", "-f", "flv", url]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    Publishing { child: command.spawn().expect("ffmpeg can be started") }
}

/// `format` and `streams` of a file as `ffprobe` sees them.
pub fn probe(path: &Path) -> Value {
    let mut command = Command::new("ffprobe");
    command.args(["-loglevel", "error", "-of", "json", "-show_format", "-show_streams"]).arg(path);
    serde_json::from_slice(&succeed(command.output()).stdout).expect("ffprobe writes JSON")
}

/// Decodes all of a file, audio and video, strictly; returns what the decoder complained about.
pub fn complaints(program: &Path, path: &Path) -> String {
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-xerror", "-i"]).arg(path);
    let output = succeed(command.args(["-f", "null", "-"]).output());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The number of every frame that a player shows, in order, read from the picture.
pub fn frame_numbers(program: &Path, path: &Path) -> Vec<u32> {
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"]).arg(path);
    command.args([
        "-map",
        "0:v:0",
        "-vf",
        "crop=256:16:0:0,scale=16:1:flags=area",
        "-fps_mode",
        "passthrough",
    ]);
    let output = succeed(command.args(["-pix_fmt", "gray", "-f", "rawvideo", "-"]).output());
    let number = |row: &[u8]| {
        row.iter().enumerate().fold(0, |number, (bit, luma)| number | (u32::from(*luma > 127) << bit))
    };
    output.stdout.chunks_exact(BITS).map(number).collect()
}

/// Demands that a program was run and had no complaint.
pub fn succeed(output: std::io::Result<Output>) -> Output {
    let output = output.unwrap_or_else(|_| panic!("ffmpeg {MISSING}"));
    assert!(output.status.success(), "ffmpeg failed: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_number_survives_the_codec() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("broadcast.flv");
        Broadcast::fast(3).encode(&ffmpeg(), &path);
        assert_eq!(frame_numbers(&ffmpeg(), &path), (0..90).collect::<Vec<_>>());
        assert_eq!(complaints(&ffmpeg(), &path), "");
    }

    #[test]
    fn the_sample_broadcast_is_what_the_demo_promises() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/sample.flv");
        assert!(path.metadata().unwrap().len() < 1_000_000);
        assert_eq!(frame_numbers(&ffmpeg(), &path), (0..360).collect::<Vec<_>>());
        let streams = &probe(&path)["streams"];
        let codecs: Vec<_> = streams.as_array().unwrap().iter().map(|stream| &stream["codec_name"]).collect();
        assert_eq!(codecs, ["h264", "aac"]);
    }
}
