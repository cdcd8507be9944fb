//! Keeps the state of one publisher's tracks: configurations, clocks.

use bytes::Bytes;

use super::audio::{AudioCodec, AudioPacket, read_audio};
use super::clock::{AudioClock, WrapClock, stamp_ticks};
use super::colour_info;
use super::video::{VideoCodec, VideoFrame, VideoPacket, read_video};
use super::{FlvError, FlvEvent, TAG_AUDIO, TAG_SCRIPT, TAG_VIDEO};
use crate::codec::CodecConfig;
use crate::colour::ColourInfo;
use crate::dropped::DropReason;
use crate::sample::{Sample, Ticks, TrackConfig, TrackKind};

/// Ticks per second of video. Divisible by 1000, so that a millisecond stamp stays exact.
const VIDEO_TIMESCALE: u32 = 90_000;
const VIDEO_TICKS_PER_MS: i32 = 90;

/// Turns the tags of one publisher into events, in the order in which it sent them.
#[derive(Debug, Default)]
pub struct FlvDemuxer {
    clock: WrapClock,
    video: VideoTrack,
    audio: AudioTrack,
}

#[derive(Debug, Default)]
struct VideoTrack {
    config: Option<(VideoCodec, CodecConfig)>,
    /// False while the configuration waits for the picture size in the first key frame.
    is_told: bool,
    /// What was told beside the configuration.
    colours: ColourInfo,
}

#[derive(Debug, Default)]
struct AudioTrack {
    config: Option<(AudioCodec, CodecConfig)>,
    clock: AudioClock,
}

impl FlvDemuxer {
    /// A demuxer that knows of no track yet.
    pub fn new() -> FlvDemuxer {
        FlvDemuxer::default()
    }

    /// Takes the next tag.
    /// - `tag_type`: [`TAG_AUDIO`], [`TAG_VIDEO`] or [`TAG_SCRIPT`]; of the last only colours are read.
    /// - `timestamp_ms`: of the tag or RTMP message; wraps at 2^32.
    /// - `body`: without the tag header. Samples are slices of it.
    ///
    /// # Errors
    /// [`FlvError`] when this tag is malformed; go on with the next one.
    pub fn push(&mut self, tag_type: u8, timestamp_ms: u32, body: Bytes) -> Result<Vec<FlvEvent>, FlvError> {
        let mut events = Vec::with_capacity(1);
        match tag_type {
            TAG_VIDEO => {
                for packet in read_video(body)? {
                    self.push_video(timestamp_ms, packet, &mut events)?;
                }
            }
            TAG_AUDIO => {
                for packet in read_audio(body)? {
                    self.push_audio(timestamp_ms, packet, &mut events)?;
                }
            }
            TAG_SCRIPT => {
                let info = colour_info::read_script(&body);
                events.extend(info.and_then(|info| self.video.describe(info)));
            }
            other => return Err(FlvError::UnknownTagType(other)),
        }
        Ok(events)
    }

    fn push_video(
        &mut self,
        timestamp_ms: u32,
        packet: VideoPacket,
        events: &mut Vec<FlvEvent>,
    ) -> Result<(), FlvError> {
        match packet {
            // It says nothing; samples that come without another one are counted.
            VideoPacket::Config { record, .. } if record.is_empty() => {}
            VideoPacket::Config { codec, record } => {
                events.extend(self.video.configure(codec, own(&record))?)
            }
            VideoPacket::Frame(frame) if frame.data.is_empty() => {
                events.push(ignored(TrackKind::Video, DropReason::EmptySample));
            }
            VideoPacket::Frame(frame) => {
                let ms = self.clock.unwrap_ms(timestamp_ms, true);
                self.video.sample(ms, frame, events);
            }
            VideoPacket::End => events.push(FlvEvent::EndOfSequence(TrackKind::Video)),
            VideoPacket::Colours(info) => events.extend(self.video.describe(info)),
            VideoPacket::Description => {}
            VideoPacket::Ignored(reason) => events.push(ignored(TrackKind::Video, reason)),
        }
        Ok(())
    }

    fn push_audio(
        &mut self,
        timestamp_ms: u32,
        packet: AudioPacket,
        events: &mut Vec<FlvEvent>,
    ) -> Result<(), FlvError> {
        match packet {
            AudioPacket::Config { record, .. } if record.is_empty() => {}
            // The frames of MP3 describe themselves; its sequence header, if any, adds nothing.
            AudioPacket::Config { codec: AudioCodec::Mp3, .. } => {}
            AudioPacket::Config { codec, record } => {
                events.extend(self.audio.configure(codec, own(&record))?)
            }
            AudioPacket::Frame { data, .. } if data.is_empty() => {
                events.push(ignored(TrackKind::Audio, DropReason::EmptySample));
            }
            AudioPacket::Frame { codec, nanos, data } => {
                if codec == AudioCodec::Mp3 {
                    events.extend(self.audio.configure(codec, data.clone())?);
                }
                let ms = self.clock.unwrap_ms(timestamp_ms, true);
                events.push(self.audio.sample(ms, codec, nanos, data));
            }
            AudioPacket::End => events.push(FlvEvent::EndOfSequence(TrackKind::Audio)),
            AudioPacket::Description => {}
            AudioPacket::Ignored(reason) => events.push(ignored(TrackKind::Audio, reason)),
        }
        Ok(())
    }
}

impl VideoTrack {
    fn configure(&mut self, codec: VideoCodec, record: Bytes) -> Result<Option<FlvEvent>, FlvError> {
        let config = codec.config(record).map_err(|source| {
            // Samples of the new configuration must not be taken for samples of the old one.
            self.config = None;
            FlvError::Config { kind: TrackKind::Video, source }
        })?;
        if matches!(&self.config, Some((_, current)) if current.same_record(&config)) {
            return Ok(None);
        }
        self.is_told = config.dimensions().is_some();
        let event = self.is_told.then(|| self.event(&config));
        self.config = Some((codec, config));
        Ok(event)
    }

    /// Takes what is told of the pictures' colours; what was told before is as good as forgotten.
    fn describe(&mut self, colours: ColourInfo) -> Option<FlvEvent> {
        if std::mem::replace(&mut self.colours, colours) == colours {
            return None;
        }
        let (_, config) = self.config.as_ref()?;
        self.is_told.then(|| self.event(config))
    }

    fn event(&self, config: &CodecConfig) -> FlvEvent {
        FlvEvent::Config(TrackConfig {
            told: self.colours,
            ..TrackConfig::new(VIDEO_TIMESCALE, config.clone())
        })
    }

    fn sample(&mut self, ms: i64, frame: VideoFrame, events: &mut Vec<FlvEvent>) {
        let Some((codec, config)) = &mut self.config else {
            return events.push(ignored(TrackKind::Video, DropReason::NoConfiguration));
        };
        if *codec != frame.codec {
            return events.push(ignored(TrackKind::Video, DropReason::NoConfiguration));
        }
        // Where the picture itself tells, the tag is not asked.
        let is_key = config.is_sync_sample(&frame.data).unwrap_or(frame.is_key);
        if is_key && let Some(sized) = config.with_dimensions_from_sample(&frame.data) {
            *config = sized.clone();
            self.is_told = true;
            events.push(self.event(&sized));
        }
        if !self.is_told {
            return events.push(ignored(TrackKind::Video, DropReason::BeforeFirstKeyFrame));
        }
        let sample = Sample {
            dts: stamp_ticks(ms, frame.nanos, VIDEO_TIMESCALE),
            cts_offset: frame.composition_ms * VIDEO_TICKS_PER_MS,
            is_sync: is_key,
            data: frame.data,
        };
        events.push(FlvEvent::Sample(TrackKind::Video, sample));
    }
}

impl AudioTrack {
    fn configure(&mut self, codec: AudioCodec, record: Bytes) -> Result<Option<FlvEvent>, FlvError> {
        let config = codec.config(record).map_err(|source| {
            if codec != AudioCodec::Mp3 {
                self.config = None;
            }
            FlvError::Config { kind: TrackKind::Audio, source }
        })?;
        if matches!(&self.config, Some((_, current)) if is_same_audio(codec, current, &config)) {
            return Ok(None);
        }
        // Ticks of the old clock mean nothing when the sample rate has changed.
        self.clock = AudioClock::default();
        let event = FlvEvent::Config(TrackConfig::new(audio_timescale(&config), config.clone()));
        self.config = Some((codec, config));
        Ok(Some(event))
    }

    fn sample(&mut self, ms: i64, codec: AudioCodec, nanos: u32, data: Bytes) -> FlvEvent {
        let Some((configured, config)) = &self.config else {
            return ignored(TrackKind::Audio, DropReason::NoConfiguration);
        };
        if *configured != codec {
            return ignored(TrackKind::Audio, DropReason::NoConfiguration);
        }
        let timescale = audio_timescale(config);
        let stamp = stamp_ticks(ms, nanos, timescale);
        let dts: Ticks = self.clock.next(stamp, config.audio_frame_len(&data), timescale);
        FlvEvent::Sample(TrackKind::Audio, Sample { dts, cts_offset: 0, is_sync: true, data })
    }
}

/// MP3 frames differ in bit rate and padding; only what a track is made of counts as a change.
fn is_same_audio(codec: AudioCodec, current: &CodecConfig, next: &CodecConfig) -> bool {
    if codec != AudioCodec::Mp3 {
        return current.same_record(next);
    }
    matches!((current, next), (CodecConfig::Mp3(_), CodecConfig::Mp3(_)))
        && current.audio_sample_rate() == next.audio_sample_rate()
        && current.channels() == next.channels()
}

fn audio_timescale(config: &CodecConfig) -> u32 {
    config.audio_sample_rate().filter(|rate| *rate > 0).unwrap_or(VIDEO_TIMESCALE)
}

/// A record is kept for as long as its track, and the buffer that it came in is not to be.
fn own(record: &[u8]) -> Bytes {
    Bytes::copy_from_slice(record)
}

fn ignored(kind: TrackKind, reason: DropReason) -> FlvEvent {
    FlvEvent::Ignored { kind, reason }
}
