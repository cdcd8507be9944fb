//! A publisher whose pictures and sound both count 90 kHz ticks without end, as those of MPEG-TS and RTP do once their
//! own wraps are undone.

use bytes::Bytes;
use mediahooks_ingest::gate::{FeedInput, FeedSink, PublishEnd};
use mediahooks_media::cmaf::parse_fragment;
use mediahooks_media::sample::{Sample, Ticks, TrackConfig, TrackKind};
use mediahooks_model::{CutMode, Limits, TargetFormat};
use mediahooks_recorder::ClipRequest;
use mediahooks_testkit::player::moov;

use crate::common::{aac, h264, token};
use crate::stage::{Finished, Stage, numbers};

pub const SECOND: i64 = 90_000;
pub const PICTURE: i64 = SECOND / 25;
pub const SOUND: i64 = 1024 * SECOND / 48_000;

/// When each picture and each sound is sent, in ticks; the number of one is its position.
#[derive(Debug, Default)]
pub struct Broadcast {
    pub pictures: Vec<i64>,
    pub sounds: Vec<i64>,
}

impl Broadcast {
    /// From `from` up to `to`, one every so many ticks.
    pub fn add(&mut self, from: i64, to: i64, (picture, sound): (i64, i64)) {
        let every = |ticks: i64| (from..to).step_by(usize::try_from(ticks).unwrap());
        self.pictures.extend(every(picture));
        self.sounds.extend(every(sound));
    }

    /// Sends those for which `is_sent` says so, each when its time has come, on the stream `stage`, stamped `origin`
    /// ticks later. Every 25th picture is a sync sample.
    pub async fn send(&self, stage: &Stage, origin: i64, is_sent: impl Fn(TrackKind, usize) -> bool) {
        let mut sink = stage.bench.open_feed("stage", &[]).await.unwrap();
        for codec in [h264(), aac()] {
            sink.push(&mut vec![FeedInput::Config(TrackConfig::new(90_000, codec))]).unwrap();
        }
        let of = |kind, times: &[i64]| {
            times.iter().enumerate().map(|(number, at)| (*at, kind, number)).collect::<Vec<_>>()
        };
        let mut all = [of(TrackKind::Video, &self.pictures), of(TrackKind::Audio, &self.sounds)].concat();
        all.sort_by_key(|(at, ..)| *at);
        for (at, kind, number) in all.into_iter().filter(|(_, kind, number)| is_sent(*kind, *number)) {
            stage.clock.0.pass_until(at * 100 / 9);
            push(sink.as_mut(), kind, number, origin + at).await;
        }
        sink.finish(PublishEnd::Unpublished).await;
    }
}

async fn push(sink: &mut dyn FeedSink, kind: TrackKind, number: usize, dts: i64) {
    let (name, is_sync) = match kind {
        TrackKind::Video => ("picture", number.is_multiple_of(25)),
        TrackKind::Audio => ("sound", true),
    };
    let data = Bytes::from(format!("<{name} {number}>"));
    let sample = Sample { dts: Ticks(dts), cts_offset: 0, is_sync, data };
    sink.push(&mut vec![FeedInput::Sample { kind, sample }]).unwrap();
    sink.ready().await;
}

impl Broadcast {
    /// Asserts that pictures and sound are shown as long after the first picture as they were sent. Of the first sound
    /// only a part may be.
    pub fn assert_in_time(&self, file: &Finished) {
        let (shown, heard) = (file.shown(), file.heard());
        let first = shown.first().expect("at least one picture");
        let begins = self.pictures[first.number as usize];
        let pictures = shown.iter().map(|sample| (sample, &self.pictures));
        let sounds = heard.iter().skip(1).map(|sample| (sample, &self.sounds));
        for (sample, times) in pictures.chain(sounds) {
            let late_ms = sample.at_ms - first.at_ms - (times[sample.number as usize] - begins) / 90;
            assert!(late_ms.abs() <= 1, "{sample:?} is {late_ms} ms late");
        }
    }
}

/// A broadcast that begins at 0 and goes on until 15 s after its ticks need more than `bits` bits: a picture and a
/// sound every minute, and for the last 30 s as usual. So its own ticks and those of its stored media, which begin
/// elsewhere, pass the limit in the middle of pictures. Every file is exact there.
pub async fn is_exact_beyond(bits: u32) {
    let limits = Limits { recording_max: std::time::Duration::from_secs(48 * 3600), ..Limits::default() };
    let stage = Stage::with(token(), limits).await;
    let limit = 1i64 << bits;
    let usual = limit - 15 * SECOND;
    let mut broadcast = Broadcast::default();
    broadcast.add(0, usual, (60 * SECOND, 60 * SECOND));
    // From a sync sample on.
    while !broadcast.pictures.len().is_multiple_of(25) {
        let last = broadcast.pictures.last().unwrap() + 1;
        broadcast.pictures.push(last);
    }
    let first = broadcast.pictures.len();
    broadcast.add(usual, limit + 15 * SECOND, (PICTURE, SOUND));
    broadcast.send(&stage, 0, |_, _| true).await;
    assert_eq!((stage.count("dropped", &[]), stage.count("jump", &[])), (0, 0));

    let recording = stage.recording().await;
    assert_eq!(numbers(&recording.shown()).len(), broadcast.pictures.len());
    assert_eq!(numbers(&recording.heard()).len(), broadcast.sounds.len());
    broadcast.assert_in_time(&recording);
    let moov = moov(&recording.file);
    for trak in &moov.trak {
        assert!(trak.mdia.mdhd.duration > limit as u64, "{:?}", trak.mdia.mdhd);
        assert!(trak.tkhd.duration > limit as u64 / 90_000 * u64::from(moov.mvhd.timescale));
    }

    // From the third second of the usual part on, for sixteen.
    let wanted: Vec<u32> = (first as u32 + 50..first as u32 + 450).collect();
    let from_ms = (usual + 2 * SECOND) / 90;
    let clip = stage.clips(from_ms, from_ms + 16_000).await.remove(0);
    assert_eq!(numbers(&clip.shown()), wanted);
    broadcast.assert_in_time(&clip);
    for format in [TargetFormat::Fmp4, TargetFormat::Hls] {
        let request = ClipRequest {
            target_format: Some(format),
            cut: CutMode::Keyframe,
            // From the same picture on, which is a sync sample.
            ..stage.clip_request(from_ms + 25, from_ms + 16_000)
        };
        let clip = stage.bench.recorder.create_clips(request).await.unwrap().remove(0);
        let clip = stage.finished(clip).await;
        assert_eq!(clip.pictures(), wanted, "{format}");
        let times = picture_times(&clip.file);
        assert_eq!(times.len(), wanted.len(), "{format}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == PICTURE), "{format}: {times:?}");
    }
}

/// Presentation times of the pictures in the fragments of a file.
fn picture_times(file: &[u8]) -> Vec<i64> {
    let track_id = moov(file).trak[0].tkhd.track_id;
    let (mut at, mut times) = (0, Vec::new());
    while at < file.len() {
        if &file[at + 4..at + 8] == b"moof" {
            let fragment = parse_fragment(&file[at..]).unwrap();
            for track in fragment.tracks.iter().filter(|track| track.track_id == track_id) {
                let mut dts = track.base_dts.0;
                for sample in &track.samples {
                    times.push(dts + i64::from(sample.cts_offset));
                    dts += i64::from(sample.duration);
                }
            }
        }
        at += u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    }
    times
}
