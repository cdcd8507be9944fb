//! Encoded broadcasts whose frames carry their numbers, with a beep each second, as stretches of a timeline.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use mediahooks_media::flv::file::FlvFile;
use mediahooks_media::flv::{FlvDemuxer, FlvEvent};
use mediahooks_media::sample::TrackKind;
use mediahooks_media::virtual_file::{Extent, Piece};
use mediahooks_model::{CutMode, TargetFormat, TimelineId, Timestamp};
use mediahooks_testkit::ffmpeg::frame_numbers;
use mediahooks_testkit::synthetic::vp8_tags;
use mediahooks_timeline::movie::{self, BuiltMovie, Edits, MovieSource, StoredSegment, Stretch};
use mediahooks_timeline::segmenter::{ClosedSegment, Output, RUN_ORIGIN_US, Segmenter, SegmenterSettings};
use uuid::Uuid;

/// What to encode.
pub struct Recording {
    pub name: &'static str,
    pub rate: &'static str,
    pub seconds: u32,
    pub size: &'static str,
    /// Left out of the constant rate, as an expression of ffmpeg's `select`; empty: nothing.
    pub kept: &'static str,
    pub codecs: &'static [&'static str],
    pub encoder: fn() -> PathBuf,
}

/// A broadcast as the segmenter left it.
pub struct Broadcast {
    pub name: String,
    segments: Vec<ClosedSegment>,
    /// When each frame is shown, in microseconds after the first decode time, and its number; in order.
    pub frames: Vec<(i64, u32)>,
    /// From one number to the next, in microseconds.
    pub frame_us: i64,
}

/// Where encoded broadcasts stay from one run of the tests to the next.
fn directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exact-cuts");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Where this test may write a file of this name.
pub fn scratch(name: &str) -> PathBuf {
    directory().join(name)
}

impl Recording {
    /// FFmpeg cannot write VP8 into FLV.
    fn is_vp8(&self) -> bool {
        self.codecs.contains(&"libvpx")
    }

    /// As samples, in the order of sending.
    fn events(&self, path: &Path) -> Vec<FlvEvent> {
        let tags: Vec<(u8, u32, Bytes)> = if self.is_vp8() {
            let tags = vp8_tags(&(self.encoder)(), path).into_iter();
            tags.map(|tag| (tag.tag_type, tag.timestamp_ms, tag.body)).collect()
        } else {
            let tags = FlvFile::new(Bytes::from(std::fs::read(path).unwrap())).unwrap().map(Result::unwrap);
            tags.map(|tag| (tag.tag_type, tag.timestamp_ms, tag.body)).collect()
        };
        let mut demuxer = FlvDemuxer::new();
        tags.into_iter().flat_map(|(kind, ms, body)| demuxer.push(kind, ms, body).unwrap()).collect()
    }

    fn encode(&self) -> PathBuf {
        let extension = if self.is_vp8() { "mkv" } else { "flv" };
        let path = directory().join(format!("{}.{extension}", self.name));
        if path.exists() {
            return path;
        }
        let (rate, seconds) = (self.rate, self.seconds);
        let picture = format!("testsrc2=size={}:rate={rate}:duration={seconds}", self.size);
        let bits = format!(
            "color=c=black:size=256x16:rate={rate}:duration={seconds},format=yuv420p,\
             geq=lum='if(mod(floor(N/pow(2,floor(X/16))),2),235,16)':cb=128:cr=128"
        );
        let beep = format!("aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.05)':s=48000:d={seconds}");
        let select = if self.kept.is_empty() { String::new() } else { format!(",select='{}'", self.kept) };
        let unfinished = directory().join(format!("{}.{}.{extension}", self.name, std::process::id()));
        let mut command = Command::new((self.encoder)());
        command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]);
        for source in [&picture, &bits, &beep] {
            command.args(["-f", "lavfi", "-i", source]);
        }
        command.args(["-filter_complex", &format!("[0:v][1:v]overlay=0:0{select}[v]"), "-map", "[v]"]);
        command.args(["-map", "2:a", "-fps_mode", "passthrough"]).args(self.codecs).arg(&unfinished);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(unfinished, &path).unwrap();
        path
    }

    /// Sends it through a segmenter, each sample arriving at its decode time.
    pub fn broadcast(&self) -> Broadcast {
        let path = self.encode();
        let numbers = frame_numbers(&(self.encoder)(), &path);
        let mut segmenter = Segmenter::new(SegmenterSettings::default());
        let mut outputs = Vec::new();
        let (mut origin_us, mut shown_us) = (None, Vec::new());
        let mut timescales = [90_000; 2];
        for event in self.events(&path) {
            match event {
                FlvEvent::Config(config) => {
                    timescales[usize::from(config.kind == TrackKind::Audio)] = config.timescale;
                    segmenter.set_track(config, &mut outputs).unwrap();
                }
                FlvEvent::Sample(kind, sample) => {
                    let timescale = timescales[usize::from(kind == TrackKind::Audio)];
                    let dts_us = sample.dts.to_micros(timescale);
                    let origin = *origin_us.get_or_insert(dts_us);
                    if kind == TrackKind::Video {
                        shown_us.push(sample.pts().to_micros(timescale) - origin);
                    }
                    let arrival = Timestamp::from_micros(1_700_000_000_000_000 + dts_us);
                    segmenter.push(kind, sample, arrival, &mut outputs).unwrap();
                }
                FlvEvent::EndOfSequence(_) | FlvEvent::Ignored { .. } => {}
            }
        }
        segmenter.flush(&mut outputs).unwrap();
        shown_us.sort_unstable();
        assert_eq!(shown_us.len(), numbers.len(), "{}", self.name);
        let segments = outputs.into_iter().filter_map(|output| match output {
            Output::Segment(segment) => Some(*segment),
            _ => None,
        });
        Broadcast {
            name: self.name.to_owned(),
            segments: segments.collect(),
            frames: shown_us.into_iter().zip(numbers).collect(),
            frame_us: match self.rate.split_once('/') {
                Some((frames, seconds)) => {
                    seconds.parse::<i64>().unwrap() * 1_000_000 / frames.parse::<i64>().unwrap()
                }
                None => 1_000_000 / self.rate.parse::<i64>().unwrap(),
            },
        }
    }
}

impl Broadcast {
    /// The numbers of the frames in a range of microseconds.
    pub fn numbers(&self, from_us: i64, to_us: i64) -> Vec<u32> {
        let wanted = self.frames.iter().filter(|(us, _)| (from_us..to_us).contains(us));
        wanted.map(|(_, number)| *number).collect()
    }

    /// The numbers of the frames that a clip of the range shows: also the one that is on screen when it begins, unless
    /// the next one follows at once.
    pub fn on_screen(&self, from_us: i64, to_us: i64) -> Vec<u32> {
        let begins = self.frames.partition_point(|(us, _)| *us < from_us);
        let is_brief = self.frames.get(begins).is_some_and(|(us, _)| *us < to_us && us - from_us <= 50_000);
        let before = begins.checked_sub(1).filter(|_| !is_brief).map(|before| self.frames[before].1);
        before.into_iter().chain(self.numbers(from_us, to_us)).collect()
    }

    /// A range of microseconds after its first decode time, as part of timeline `timeline`.
    pub fn stretch(&self, timeline: u128, range_us: Option<(i64, i64)>) -> Stretch {
        Stretch {
            timeline: TimelineId(Uuid::from_u128(timeline)),
            tracks: self.segments.iter().rev().find_map(|segment| segment.tracks.clone()).unwrap(),
            segments: self
                .segments
                .iter()
                .map(|segment| StoredSegment {
                    wall_offset_us: segment.wall_offset_us,
                    late_us: 0,
                    index: (&segment.index).into(),
                })
                .collect(),
            start_us: range_us.map(|(from, _)| RUN_ORIGIN_US + from),
            stop_us: range_us.map(|(_, to)| RUN_ORIGIN_US + to),
            late_us: 0,
        }
    }

    fn stored(&self) -> impl Iterator<Item = Vec<u8>> {
        self.segments.iter().map(|segment| [segment.head.clone(), segment.payload.concat()].concat())
    }
}

/// What file to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Mp4,
    Fragmented,
    Webm,
}

/// Builds a file of ranges of broadcasts and writes it under `name`.
pub fn clip(
    name: &str,
    parts: &[(&Broadcast, Option<(i64, i64)>)],
    cut: CutMode,
    hold_gaps: bool,
    format: Format,
) -> (BuiltMovie, PathBuf) {
    let stretches = (1..).zip(parts).map(|(number, (broadcast, range))| broadcast.stretch(number, *range));
    let created = Timestamp::from_micros(1_700_000_000_000_000);
    let target = if format == Format::Webm { TargetFormat::Webm } else { TargetFormat::Mp4 };
    let source = MovieSource { stretches: stretches.collect(), hold_gaps, cut, format: target, created };
    let movie = match format {
        Format::Mp4 | Format::Webm => movie::build(&source).unwrap(),
        Format::Fragmented => {
            let edits = if cut == CutMode::Frame { Edits::Hiding } else { Edits::Whole };
            movie::build_fragments(&source, edits).unwrap().movie
        }
    };
    let stored: Vec<Vec<u8>> = parts.iter().flat_map(|(broadcast, _)| broadcast.stored()).collect();
    let mut file = Vec::new();
    while (file.len() as u64) < movie.file.len() {
        match movie.file.piece(file.len() as u64..movie.file.len()).unwrap() {
            Piece::Bytes(generated) => file.extend(generated),
            Piece::Extent(Extent { source, offset, len }) => {
                file.extend_from_slice(&stored[source as usize][offset as usize..][..len as usize]);
            }
        }
    }
    let extension = if format == Format::Webm { "webm" } else { "mp4" };
    let path = scratch(&format!("{name} {format:?}.{extension}"));
    std::fs::write(&path, file).unwrap();
    (movie, path)
}
