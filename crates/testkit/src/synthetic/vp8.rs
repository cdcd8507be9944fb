//! VP8 by Enhanced RTMP, which no version of FFmpeg writes: its encoder makes the frames, the tags around
//! them are made here.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::{Buf, Bytes};
use mediahooks_media::flv::{TAG_VIDEO, file::FlvFile};

use super::{Tag, audio_and_video, in_order, kept};
use crate::ffmpeg::{Broadcast, succeed};

/// A `VPCodecConfigurationRecord` of profile 0 and level 1, 8 bits a sample, 4:2:0 and BT.709 colours.
pub const VP8_RECORD: [u8; 8] = [0, 10, 0x82, 1, 1, 1, 0, 0];

const IVF_HEADER: usize = 32;
/// How much earlier than the pictures FFmpeg's Opus begins, which makes up for its pre-skip of 312 samples. FLV
/// has no negative times: everything moves.
const SOUND_EARLY_MS: u32 = 7;

/// A broadcast, and what its encoder made.
#[derive(Debug, Clone)]
pub struct Vp8Broadcast {
    /// To be sent in real time.
    pub tags: Vec<Tag>,
    /// A Matroska file of the same frames.
    pub file: PathBuf,
}

/// What `broadcast` is when FFmpeg 9 encodes it as VP8 and Opus, which its codecs have to say. Kept below the
/// target directory as `name`.
pub fn vp8_and_opus(name: &str, program: &Path, broadcast: &Broadcast) -> Vp8Broadcast {
    let file = kept(&format!("{name}.mkv"), |path| broadcast.encode(program, path));
    Vp8Broadcast { tags: vp8_tags(program, &file), file }
}

/// The VP8 and the Opus in a Matroska file of FFmpeg's as tags.
pub fn vp8_tags(program: &Path, file: &Path) -> Vec<Tag> {
    let directory = tempfile::tempdir().expect("files can be made");
    let split = |map: &str, format: &str| {
        let path = directory.path().join(format);
        let mut command = Command::new(program);
        command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"]).arg(file);
        succeed(command.args(["-map", map, "-c", "copy", "-f", format]).arg(&path).output());
        Bytes::from(std::fs::read(path).expect("it can be read"))
    };
    let sound = FlvFile::new(split("0:a", "flv")).expect("ffmpeg writes FLV");
    let mut tags = vec![video(0, &[&[0x90], b"vp08", &VP8_RECORD])];
    tags.extend(pictures(split("0:v", "ivf")));
    tags.extend(audio_and_video(sound));
    in_order(tags)
}

/// The frames of an IVF file whose ticks are milliseconds, as tags.
fn pictures(mut ivf: Bytes) -> Vec<Tag> {
    assert_eq!(ivf.get(16..24), Some(&[0xe8, 3, 0, 0, 1, 0, 0, 0][..]), "IVF in milliseconds");
    ivf.advance(IVF_HEADER);
    let mut tags = Vec::new();
    while !ivf.is_empty() {
        let len = usize::try_from(ivf.get_u32_le()).expect("it is in memory");
        let ms = SOUND_EARLY_MS + u32::try_from(ivf.get_u64_le()).expect("broadcasts are short");
        let frame = ivf.split_to(len);
        let frame_type = if frame[0] & 1 == 0 { 0x91 } else { 0xA1 };
        tags.push(video(ms, &[&[frame_type], b"vp08", &frame]));
    }
    tags
}

fn video(timestamp_ms: u32, parts: &[&[u8]]) -> Tag {
    let sent_us = i64::from(timestamp_ms) * 1000;
    Tag { sent_us, tag_type: TAG_VIDEO, timestamp_ms, body: Bytes::from(parts.concat()) }
}
