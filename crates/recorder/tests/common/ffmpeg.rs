//! ffmpeg as encoder, publisher and judge.

use std::path::Path;
use std::process::{Command, Output};

/// The distribution's ffmpeg.
pub fn ffmpeg() -> Command {
    Command::new("ffmpeg")
}

/// A newer FFmpeg, which knows Enhanced RTMP: `MEDIAHOOKS_FFMPEG9`, or the PyPI wheel's.
pub fn ffmpeg9() -> Command {
    let path = std::env::var("MEDIAHOOKS_FFMPEG9").unwrap_or_else(|_| {
        let script = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
        let found = run(Command::new("python3").args(["-c", script]));
        String::from_utf8(found.stdout).unwrap().trim().to_owned()
    });
    Command::new(path)
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
pub fn packets(mut program: Command, file: &Path, stream: &str) -> Vec<String> {
    let output = run(program.args(["-v", "error", "-ignore_editlist", "1", "-i"]).arg(file).args([
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

/// The same of a file that is not MP4.
pub fn packets_sent(mut program: Command, file: &Path, stream: &str) -> Vec<String> {
    let output = run(program.args(["-v", "error", "-i"]).arg(file).args([
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
    lines.filter_map(|line| line.rsplit(',').next()).map(|hash| hash.trim().to_owned()).collect()
}
