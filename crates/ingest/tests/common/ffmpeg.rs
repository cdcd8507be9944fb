//! Real encoders: Debian's ffmpeg 5.1 and FFmpeg 9, which speaks Enhanced RTMP.

use std::path::Path;
use std::process::{Command, Output};

#[allow(unused_imports, reason = "each test file uses a part")]
pub use mediahooks_testkit::ffmpeg::{ffmpeg, ffmpeg9};

/// Encodes `seconds` of a moving test picture and a tone into `path`.
pub fn encode(program: &Path, seconds: u32, codecs: &[&str], path: &Path) {
    let video = format!("testsrc2=size=320x180:rate=30:duration={seconds}");
    let audio = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let mut command = Command::new(program);
    command.args(["-loglevel", "error", "-y", "-f", "lavfi", "-i", &video, "-f", "lavfi", "-i", &audio]);
    command.args(codecs).arg(path);
    succeed(command.output().unwrap());
}

/// Publishes a file as it is, as fast as the server takes it.
pub async fn publish(program: &Path, path: &Path, url: &str) -> Output {
    let mut command = tokio::process::Command::new(program);
    command.args(["-loglevel", "error", "-i"]).arg(path).args(["-c", "copy", "-f", "flv", url]);
    super::patiently(command.output()).await.unwrap()
}

pub fn succeed(output: Output) {
    assert!(output.status.success(), "ffmpeg failed: {}", String::from_utf8_lossy(&output.stderr));
}

/// One packet of a file as `ffprobe` sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Packet {
    pub pts_seconds: f64,
    pub dts_seconds: f64,
    pub size_bytes: usize,
    pub is_key: bool,
}

/// The packets of the first track of a kind (`v` or `a`) in file order.
pub fn probe(path: &Path, kind: &str) -> Vec<Packet> {
    let mut command = Command::new("ffprobe");
    command.args(["-loglevel", "error", "-select_streams", kind, "-show_entries"]);
    command.args(["packet=pts_time,dts_time,size,flags", "-of", "csv=p=0"]).arg(path);
    let output = command
        .output()
        .unwrap_or_else(|_| panic!("ffprobe is needed by this test; run scripts/install-test-tools.sh"));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    succeed(output);
    // A packet with side data is followed by an empty line.
    text.lines().filter(|line| !line.is_empty()).map(parse_packet).collect()
}

fn parse_packet(line: &str) -> Packet {
    let fields: Vec<&str> = line.split(',').collect();
    Packet {
        pts_seconds: fields[0].parse().unwrap(),
        dts_seconds: fields[1].parse().unwrap(),
        size_bytes: fields[2].parse().unwrap(),
        is_key: fields[3].starts_with('K'),
    }
}
