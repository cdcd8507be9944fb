//! What the tests of this crate share: FFmpeg as maker and judge of files, and a virtual file made real.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

pub mod memory;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bytes::Bytes;
use mediahooks_media::{
    codec::CodecConfig,
    sample::{Sample, SampleInfo, Ticks, TrackConfig, TrackKind},
    virtual_file::{Piece, VirtualFile},
};
use shiguredo_mp4::{boxes::SampleEntry, demux::Mp4FileDemuxer};

pub use mediahooks_testkit::ffmpeg::{ffmpeg, ffmpeg9};

/// Runs a tool; its failure, or any error that it prints, fails the test.
pub fn run(tool: &Path, args: &[&str]) -> Output {
    let output = Command::new(tool).args(["-v", "error"]).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {}: {error}", tool.display()));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.trim().is_empty(),
        "{} {args:?}: {complaints}",
        tool.display()
    );
    output
}

/// Decodes every packet of a file and stops at the first error.
pub fn decode_all(tool: &Path, file: &Path) {
    run(tool, &["-xerror", "-i", path_str(file), "-f", "null", "-"]);
}

/// A hash of each decoded picture, in the order in which they are shown.
pub fn picture_hashes(tool: &Path, file: &Path) -> Vec<String> {
    let args = ["-i", path_str(file), "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"];
    let output = String::from_utf8(run(tool, &args).stdout).expect("text");
    let lines = output.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().expect("a hash").trim().to_owned()).collect()
}

/// A field of a stream, as ffprobe prints it. `stream` is a specifier such as `v:0`.
pub fn probe(file: &Path, stream: &str, field: &str) -> String {
    let entries = format!("stream={field}");
    let args = ["-count_packets", "-select_streams", stream, "-show_entries", &entries, "-of", "csv=p=0"];
    let output = run(Path::new("ffprobe"), &[&args[..], &[path_str(file)]].concat());
    String::from_utf8(output.stdout).expect("text").trim().trim_end_matches(',').to_owned()
}

pub fn path_str(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A track read out of a file.
pub struct SourceTrack {
    pub config: TrackConfig,
    pub samples: Vec<Sample>,
    pub infos: Vec<SampleInfo>,
}

impl SourceTrack {
    /// Presentation time of the earliest sample.
    pub fn first_pts(&self) -> i64 {
        self.samples.iter().map(|sample| sample.pts().0).min().expect("a sample")
    }
}

/// Reads all tracks of an MP4 file, video first.
pub fn read_mp4(file: &[u8]) -> Vec<SourceTrack> {
    let mut demuxer = Mp4FileDemuxer::new();
    while let Some(required) = demuxer.required_input() {
        let start = usize::try_from(required.position).expect("small");
        let end = required.size.map_or(file.len(), |size| start + size);
        demuxer.handle_input(required.to_input(&file[start..end]));
    }
    let mut tracks = Vec::<(u32, SourceTrack)>::new();
    while let Some(sample) = demuxer.next_sample().expect("a readable file") {
        let id = sample.track.track_id;
        let index = tracks.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
            let first = usize::try_from(sample.data_offset).expect("small");
            let codec = codec_of(file, sample.sample_entry.expect("a sample entry"), &file[first..]);
            let config = TrackConfig::new(sample.track.timescale.get(), codec);
            tracks.push((id, SourceTrack { config, samples: Vec::new(), infos: Vec::new() }));
            tracks.len() - 1
        });
        let track = &mut tracks[index].1;
        let offset = usize::try_from(sample.data_offset).expect("small");
        let data = Bytes::copy_from_slice(&file[offset..offset + sample.data_size]);
        let cts_offset = i32::try_from(sample.composition_time_offset.unwrap_or(0)).expect("small");
        if track.config.kind == TrackKind::Video
            && let Some(codec) = track.config.codec.with_dimensions_from_sample(&data)
        {
            track.config.codec = codec;
        }
        track.infos.push(SampleInfo {
            duration: sample.duration,
            size: u32::try_from(sample.data_size).expect("small"),
            cts_offset,
            is_sync: sample.keyframe,
        });
        let dts = Ticks(i64::try_from(sample.timestamp).expect("small"));
        track.samples.push(Sample { dts, cts_offset, is_sync: sample.keyframe, data });
    }
    let mut tracks: Vec<_> = tracks.into_iter().map(|(_, track)| track).collect();
    tracks.sort_by_key(|track| track.config.kind);
    tracks
}

/// The payload of the first box of a type, wherever it is.
pub fn box_payload<'a>(file: &'a [u8], box_type: &[u8; 4]) -> Option<&'a [u8]> {
    let at = file.windows(4).position(|window| window == box_type)?;
    let size = u32::from_be_bytes(file.get(at - 4..at)?.try_into().ok()?);
    file.get(at + 4..at - 4 + usize::try_from(size).ok()?)
}

fn codec_of(file: &[u8], entry: &SampleEntry, first_sample: &[u8]) -> CodecConfig {
    let record = |box_type: &[u8; 4]| Bytes::copy_from_slice(box_payload(file, box_type).expect("a record"));
    let config = match entry {
        SampleEntry::Avc1(_) => CodecConfig::h264(record(b"avcC")),
        SampleEntry::Hev1(_) | SampleEntry::Hvc1(_) => CodecConfig::h265(record(b"hvcC")),
        SampleEntry::Av01(_) => CodecConfig::av1(record(b"av1C")),
        SampleEntry::Vp09(_) => CodecConfig::vp9(record(b"vpcC")),
        SampleEntry::Mp4a(entry) => match &entry.esds_box.es.dec_config_descr.dec_specific_info {
            Some(info) => CodecConfig::aac(info.payload.clone().into()),
            None => CodecConfig::mp3(first_sample),
        },
        SampleEntry::Opus(entry) => {
            let mut head = b"OpusHead\x01".to_vec();
            head.push(entry.dops_box.output_channel_count);
            head.extend(entry.dops_box.pre_skip.to_le_bytes());
            head.extend(entry.dops_box.input_sample_rate.to_le_bytes());
            head.extend(entry.dops_box.output_gain.to_le_bytes());
            head.push(0);
            CodecConfig::opus_from_id_header(&head)
        }
        other => panic!("no such codec here: {other:?}"),
    };
    config.expect("a configuration from FFmpeg")
}

/// The bytes of a range of a virtual file, from its sources.
pub fn materialise(file: &dyn VirtualFile, range: std::ops::Range<u64>, sources: &[Vec<u8>]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), range.start);
    while at < range.end {
        let piece = file.piece(at..range.end).expect("a piece");
        at += piece.len();
        match piece {
            Piece::Bytes(bytes) => out.extend(bytes),
            Piece::Extent(extent) => {
                let start = usize::try_from(extent.offset).expect("small");
                let len = usize::try_from(extent.len).expect("small");
                out.extend(&sources[extent.source as usize][start..start + len]);
            }
        }
    }
    out
}

/// The generated bytes of a file up to and with the head of its `mdat`.
pub fn header(file: &dyn VirtualFile) -> Vec<u8> {
    let mut out = Vec::new();
    while let Piece::Bytes(bytes) = file.piece(out.len() as u64..file.len()).expect("a piece") {
        out.extend(bytes);
        if out.len() as u64 == file.len() {
            break;
        }
    }
    out
}

/// The stored bytes of a file, in order.
pub fn extents(file: &dyn VirtualFile) -> Vec<mediahooks_media::virtual_file::Extent> {
    let (mut extents, mut at) = (Vec::new(), 0);
    while at < file.len() {
        let piece = file.piece(at..file.len()).expect("a piece");
        at += piece.len();
        if let Piece::Extent(extent) = piece {
            extents.push(extent);
        }
    }
    extents
}
