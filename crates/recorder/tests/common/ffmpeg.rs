//! ffmpeg as encoder, publisher and judge.

use std::path::Path;
use std::process::{Command, Output};

/// The distribution's ffmpeg.
pub fn ffmpeg() -> Command {
    Command::new(mediahooks_testkit::ffmpeg::ffmpeg())
}

/// A newer FFmpeg, which knows Enhanced RTMP.
pub fn ffmpeg9() -> Command {
    Command::new(mediahooks_testkit::ffmpeg::ffmpeg9())
}

/// Runs to the end; a failure shows what the program said.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot run {:?}: {error}; scripts/install-test-tools.sh installs it", command.get_program())
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Decodes a whole file; any word of complaint is a failure.
pub fn decodes_without_a_word(mut program: Command, file: &Path) {
    let output = run(program.args(["-v", "warning", "-xerror", "-i"]).arg(file).args(["-f", "null", "-"]));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", file.display());
}

/// Has MKVToolNix, an implementation of Matroska on its own, read every element of a WebM.
pub fn mkvinfo_finds_nothing_wrong(file: &Path) {
    let output = run(Command::new("mkvinfo").args(["--ui-language", "en_US", "--all"]).arg(file));
    let told = String::from_utf8_lossy(&output.stdout);
    for word in ["unknown element", "error", "warning", "invalid"] {
        assert!(!told.to_ascii_lowercase().contains(word), "{}: {told}", file.display());
    }
    for element in ["Segment: size", "Cues", "Cluster", "Simple block"] {
        assert!(told.contains(element), "{}: no {element} in {told}", file.display());
    }
}

/// Number of pictures that a player shows.
pub fn pictures_shown(mut program: Command, file: &Path) -> usize {
    let output = run(program.args(["-v", "error", "-i"]).arg(file).args([
        "-map",
        "0:v",
        "-fps_mode",
        "passthrough",
        "-f",
        "framecrc",
        "-",
    ]));
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.starts_with('#')).count()
}

/// Hash of each packet's bytes of one stream (`v` or `a`), in decode order, as they are stored.
/// `demuxer` are options of the reader: of an MP4, to pass over its edit list.
pub fn packets(mut program: Command, demuxer: &[&str], file: &Path, stream: &str) -> Vec<String> {
    let output = run(program.args(["-v", "error"]).args(demuxer).arg("-i").arg(file).args([
        "-map",
        &format!("0:{stream}"),
        "-c",
        "copy",
        "-f",
        "framehash",
        "-hash",
        "md5",
        "-",
    ]));
    hashes(&output)
}

fn hashes(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    // Stream, dts, pts, duration, size, hash; then what a reader adds, such as samples to be skipped.
    lines.filter_map(|line| line.split(',').nth(5)).map(|hash| hash.trim().to_owned()).collect()
}

/// How loud each channel of the sound is, in dB.
pub fn loudness(mut program: Command, file: &Path) -> Vec<f64> {
    let filter = "astats=measure_overall=none:measure_perchannel=RMS_level";
    let arguments = ["-map", "0:a", "-af", filter, "-f", "null", "-"];
    let output = run(program.args(["-hide_banner", "-i"]).arg(file).args(arguments));
    let told = String::from_utf8_lossy(&output.stderr);
    let levels = told.lines().filter_map(|line| line.split("RMS level dB: ").nth(1));
    levels.map(|level| level.trim().parse().unwrap()).collect()
}
