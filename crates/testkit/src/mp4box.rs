//! GPAC's mp4box.js as a judge of MP4 files: a reader that has nothing in common with ours or with FFmpeg.
//!
//! `judges/mp4box.cjs` says what is checked.

use std::path::Path;

use serde::Deserialize;

use crate::tools;

/// What mp4box.js found in a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    /// In the order of the file.
    pub tracks: Vec<Track>,
    /// What is wrong, the first of it; empty when nothing is.
    pub complaints: Vec<String>,
}

/// A track, fragments included.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Track {
    /// Its number in the file.
    pub id: u32,
    /// As in RFC 6381, such as `avc1.64001f`.
    pub codec: String,
    /// Number of samples.
    pub samples: u64,
    /// Bytes of all samples.
    pub bytes: u64,
}

/// Reads the whole file.
pub fn judge(file: &Path) -> Verdict {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/mp4box.cjs");
    let said = tools::output(tools::judge().arg(script).arg(file));
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Panics with what is wrong with the file.
pub fn finds_nothing_wrong(file: &Path) -> Verdict {
    let verdict = judge(file);
    assert_eq!(verdict.complaints, Vec::<String>::new(), "{}", file.display());
    verdict
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::ffmpeg::ffmpeg;

    /// A file of FFmpeg's, changed by `damage`.
    fn damaged(name: &str, damage: impl FnOnce(&mut Vec<u8>)) -> Verdict {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(format!("{name}.mp4"));
        let mut encode = Command::new(ffmpeg());
        encode.args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:duration=2"]);
        encode.args(["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]).arg(&path);
        tools::output(&mut encode);
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        judge(&path)
    }

    /// Adds one to the 32-bit number `skip` bytes behind the type of the first such box.
    fn raise(bytes: &mut [u8], box_type: &[u8; 4], skip: usize) {
        let at = bytes.windows(4).position(|window| window == box_type).unwrap() + 4 + skip;
        let field = bytes.get_mut(at..at + 4).unwrap();
        let raised = u32::from_be_bytes(field.try_into().unwrap()) + 1;
        field.copy_from_slice(&raised.to_be_bytes());
    }

    #[test]
    fn a_sound_file_has_no_complaints() {
        let verdict = damaged("sound", |_| ());
        assert_eq!((verdict.tracks.len(), verdict.tracks[0].samples), (1, 50));
        assert_eq!(verdict.complaints, Vec::<String>::new());
    }

    #[test]
    fn each_kind_of_damage_is_told() {
        let is_told = |verdict: Verdict, what: &str| {
            let complaints = verdict.complaints;
            assert!(complaints.iter().any(|complaint| complaint.contains(what)), "{what}: {complaints:?}");
        };
        is_told(damaged("cut", |bytes| bytes.truncate(bytes.len() - 1)), "its boxes end at");
        is_told(damaged("times", |bytes| raise(bytes, b"stts", 8)), "stts counts");
        is_told(damaged("edits", |bytes| raise(bytes, b"elst", 8)), "elst");
        is_told(damaged("chunks", |bytes| raise(bytes, b"stsc", 12)), "stsc counts");
        is_told(damaged("media", |bytes| raise(bytes, b"mdhd", 16)), "mdhd says");
    }
}
