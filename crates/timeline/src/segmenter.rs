//! Groups the samples of one feed into segments and runs.
//!
//! Fed by the recorder with everything a publisher sends, stamped with its arrival; drained of
//! [`Output`]s. What always holds: a closed segment has at least one sample; decode times of a
//! track strictly rise within a run; the first video sample of a run can be decoded alone.
//!
//! What a publisher sends at once when it begins may be seconds that an encoder or a relay has kept back. Only the
//! live frames behind it tell when it was captured: the first segments of a run wait for these, for less than a second.

mod open;

use mediahooks_media::cmaf::{FragmentTrack, encode_fragment_head};
use mediahooks_media::dropped::DropReason;
use mediahooks_media::error::MuxError;
use mediahooks_media::sample::{Sample, Ticks, TrackConfig, TrackKind};
use mediahooks_model::Timestamp;

use self::open::OpenRun;
use crate::index::SegmentIndex;

/// Where the media clock of a run stands at the run's first sample, in microseconds. Not zero, so
/// that a track whose first sample is a little older than that of the other has no negative time.
pub const RUN_ORIGIN_US: i64 = 10_000_000;

/// How samples are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmenterSettings {
    /// A segment is closed when it holds this much, in microseconds; groups of pictures that are longer are stored
    /// in equal pieces. Together with writing it and the frames that come meanwhile it is the media that a crash
    /// may cost.
    pub piece_us: i64,
    /// A segment is closed before it holds more than this many bytes.
    pub bytes_max: usize,
    /// A segment is closed before it has more than this many samples: what is done for a segment stays little,
    /// however short its samples are.
    pub samples_max: usize,
    /// A timestamp that is this much further from its predecessor than their arrivals are apart, in
    /// microseconds, is a jump and starts a new run.
    pub jump_us: i64,
    /// A timestamp that goes back by more than this, in microseconds, starts a new run; by less, the
    /// sample is kept one tick after its predecessor.
    pub back_us: i64,
}

impl Default for SegmenterSettings {
    fn default() -> Self {
        Self {
            piece_us: 700_000,
            bytes_max: 8 << 20,
            samples_max: 1 << 14,
            jump_us: 10_000_000,
            back_us: 1_000_000,
        }
    }
}

/// What comes out of a [`Segmenter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A segment is complete and has to be stored.
    Segment(Box<ClosedSegment>),
    /// A sample was not kept.
    Dropped {
        /// Of which track.
        kind: TrackKind,
        /// Why.
        reason: DropReason,
    },
    /// The run is over, and what follows belongs to another one.
    RunEnded {
        /// Why; fit to be a counter's label.
        reason: &'static str,
    },
    /// Between two samples of a track nothing came for much longer than usual. The first one lasts until
    /// the second.
    Gap {
        /// Of which track.
        kind: TrackKind,
        /// How long, in microseconds.
        len_us: i64,
    },
    /// A decode time that did not rise was replaced.
    Restamped {
        /// Of which track.
        kind: TrackKind,
    },
}

/// How far a feed has come; see [`Segmenter::received`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The latest run that something was received of.
    pub run: u32,
    /// The wall clock up to which everything captured has been received: no frame that is still to come was
    /// captured before.
    pub until: Timestamp,
    /// By how much the wall clock was set since the feed began, in microseconds; what `until` moved by beside it was
    /// received.
    pub set_us: i64,
    /// How long after it is decoded a picture of the run was shown at most, in microseconds: others may come after it that
    /// are shown before it.
    pub reordered_us: i64,
    /// For how long nothing arrived of the feed at most before more of it came, in microseconds.
    pub pause_us: i64,
}

/// A picture that stays on screen because no other one comes; see [`Segmenter::held`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The run that it is the latest picture of.
    pub run: u32,
    /// Until when it was on screen at least, in microseconds of the run's media clock.
    pub until_us: i64,
}

/// A segment to be stored: its bytes, without copies of the media, and all that is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSegment {
    /// The run it belongs to: 0, 1, 2 …
    pub run: u32,
    /// Present when the run is new or has a new track: the run's tracks from here on. The segment
    /// has to begin a new chunk file then.
    pub tracks: Option<Vec<TrackConfig>>,
    /// `moof` and the head of the `mdat`.
    pub head: Vec<u8>,
    /// The samples' bytes in the order in which they follow the head.
    pub payload: Vec<bytes::Bytes>,
    /// Bytes of head and payload.
    pub len: u64,
    /// The sample table.
    pub index: SegmentIndex,
    /// Presentation time of the earliest sample, in microseconds of the run's media clock.
    pub media_start_us: i64,
    /// Presentation time at which the latest sample ends, likewise.
    pub media_end_us: i64,
    /// Wall clock minus media clock, in microseconds.
    pub wall_offset_us: i64,
    /// Whether decoding can begin with the segment's first video sample (without video: true).
    pub starts_with_sync: bool,
}

/// Groups the samples of one feed. See the module.
#[derive(Debug)]
pub struct Segmenter {
    settings: SegmenterSettings,
    configs: Vec<TrackConfig>,
    run: Option<OpenRun>,
    /// Closed segments of the run that wait for their wall clock.
    untimed: Vec<ClosedSegment>,
    next_run: u32,
    next_fragment: u32,
    set_us: i64,
    last_arrival: Option<Timestamp>,
    pause_us: i64,
}

impl Segmenter {
    /// For a feed that has just begun.
    pub fn new(settings: SegmenterSettings) -> Self {
        Self {
            settings,
            configs: Vec::new(),
            run: None,
            untimed: Vec::new(),
            next_run: 0,
            next_fragment: 1,
            set_us: 0,
            last_arrival: None,
            pause_us: 0,
        }
    }

    /// Takes a track's configuration: the first one announces the track; another one than before
    /// ends the run, as its samples cannot be decoded with the old one. One that only tells more of the
    /// colours completes the run's.
    ///
    /// Errors: [`MuxError`] when the segment that this closes cannot be written.
    pub fn set_track(&mut self, config: TrackConfig, out: &mut Vec<Output>) -> Result<(), MuxError> {
        match self.configs.iter_mut().find(|known| known.kind == config.kind) {
            Some(known) if *known == config => return Ok(()),
            Some(known) if known.goes_on_as(&config) => {
                if let Some(run) = &mut self.run {
                    run.learn(&config);
                }
                *known = config;
                return Ok(());
            }
            Some(known) => *known = config.clone(),
            None => self.configs.push(config.clone()),
        }
        if self.run.as_ref().is_some_and(|run| run.has_track(config.kind)) {
            self.end_run("configuration", out)?;
        }
        Ok(())
    }

    /// Takes a sample that arrived at `arrival`, with the timestamps of its publisher.
    ///
    /// Errors: [`MuxError`] when a segment that this closes cannot be written.
    pub fn push(
        &mut self,
        kind: TrackKind,
        sample: Sample,
        arrival: Timestamp,
        out: &mut Vec<Output>,
    ) -> Result<(), MuxError> {
        let Some(config) = self.configs.iter().find(|config| config.kind == kind) else {
            out.push(Output::Dropped { kind, reason: DropReason::NoConfiguration });
            return Ok(());
        };
        let timescale = config.timescale;
        let last_arrival = self.last_arrival.replace(arrival).unwrap_or(arrival);
        self.pause_us = self.pause_us.max(arrival.micros_since(last_arrival));
        let dts_us = sample.dts.to_micros(timescale);
        match self.run.as_ref().map(|run| run.judge(kind, dts_us, arrival, &self.settings)) {
            Some(Judgement::Jump) => {
                self.end_run("timestamp_jump", out)?;
                self.start_run(dts_us, arrival, true);
            }
            Some(Judgement::Straggler) => {
                out.push(Output::Dropped { kind, reason: DropReason::TimestampJump });
                return Ok(());
            }
            Some(Judgement::Follows) => {}
            None => self.start_run(dts_us, arrival, false),
        }
        self.push_into_run(kind, sample, arrival, out)
    }

    fn push_into_run(
        &mut self,
        kind: TrackKind,
        sample: Sample,
        arrival: Timestamp,
        out: &mut Vec<Output>,
    ) -> Result<(), MuxError> {
        let Some(run) = &mut self.run else { return Ok(()) };
        if kind == TrackKind::Video && !sample.is_sync && !run.has_track(kind) {
            out.push(Output::Dropped { kind, reason: DropReason::BeforeFirstKeyFrame });
            return Ok(());
        }
        if !run.has_track(kind) {
            let Some(config) = self.configs.iter().find(|config| config.kind == kind) else { return Ok(()) };
            run.add_track(config, &sample, arrival, &self.settings);
        }
        let stamped = sample.dts;
        let sample = run.place(kind, sample);
        if run.is_restamped(kind, stamped, sample.dts) {
            out.push(Output::Restamped { kind });
        }
        if let Some(len_us) = run.gap_before(kind, sample.dts) {
            out.push(Output::Gap { kind, len_us });
        }
        if run.leaps_before(kind, sample.dts, arrival) {
            self.close(None)?;
        } else if run.closes_before(kind, &sample, arrival, &self.settings) {
            self.close(Some((kind, sample.dts)))?;
        }
        self.time_closed(arrival, out);
        if let Some(run) = &mut self.run {
            run.append(kind, sample, arrival, &self.settings);
        }
        Ok(())
    }

    /// Closes the open segment now: a clip wants what has been received, or the feed is over.
    ///
    /// Errors: [`MuxError`] when it cannot be written.
    pub fn flush(&mut self, out: &mut Vec<Output>) -> Result<(), MuxError> {
        let closed = self.close(None);
        self.release(out);
        closed
    }

    /// Closes the open segment when its first sample arrived longer ago than a segment may stay
    /// open: the publisher has fallen silent, and what it sent must not stay in memory only. A picture that no other is
    /// to follow soon is closed at once.
    ///
    /// Errors: [`MuxError`] when it cannot be written.
    pub fn poll(&mut self, now: Timestamp, out: &mut Vec<Output>) -> Result<(), MuxError> {
        let stale = self.run.as_ref().is_some_and(|run| {
            let stale_us = if run.is_sparse() { 0 } else { 2 * self.settings.piece_us };
            run.opened().is_some_and(|opened| now.micros_since(opened) > stale_us)
        });
        let closed = if stale { self.close(None) } else { Ok(()) };
        self.time_closed(now, out);
        closed
    }

    /// Until when the latest picture was on screen of a feed that was live at `now`, if that is longer than its kind
    /// lasts, and all pictures have come out in segments.
    pub fn held(&self, now: Timestamp) -> Option<Held> {
        let run = self.run.as_ref().filter(|_| self.untimed.is_empty())?;
        Some(Held { run: run.number(), until_us: run.held_until_us(now)? })
    }

    /// Takes note that the wall clock was set by `by_us` microseconds: arrivals from here on are on the
    /// new one. The run goes on; what was received before is closed, on the clock it arrived by.
    ///
    /// Errors: [`MuxError`] when the segment that this closes cannot be written.
    pub fn set_clock(&mut self, by_us: i64, out: &mut Vec<Output>) -> Result<(), MuxError> {
        self.flush(out)?;
        self.set_us = self.set_us.saturating_add(by_us);
        self.last_arrival = self.last_arrival.map(|arrival| arrival.plus_micros(by_us));
        if let Some(run) = &mut self.run {
            run.set_clock(by_us);
        }
        Ok(())
    }

    /// How far the feed has come by `now`; `None` before the first sample of a run. Within a run it goes back only
    /// when the wall clock is set, or corrected ([`crate::clock`]).
    pub fn received(&mut self, now: Timestamp) -> Option<Received> {
        let run = self.run.as_mut()?;
        let (until, reordered_us) = (run.received(now)?, run.reordered_us());
        let (set_us, pause_us) = (self.set_us, self.pause_us);
        Some(Received { run: run.number(), until, set_us, reordered_us, pause_us })
    }

    fn start_run(&mut self, dts_us: i64, arrival: Timestamp, by_jump: bool) {
        self.run = Some(OpenRun::new(self.next_run, dts_us, arrival, by_jump, &self.settings));
        self.next_run += 1;
    }

    fn end_run(&mut self, reason: &'static str, out: &mut Vec<Output>) -> Result<(), MuxError> {
        self.flush(out)?;
        self.run = None;
        out.push(Output::RunEnded { reason });
        Ok(())
    }

    /// `next` is the sample that opens the next segment, when it is known: it tells how long the
    /// last sample of its track lasts.
    fn close(&mut self, next: Option<(TrackKind, Ticks)>) -> Result<(), MuxError> {
        let Some(run) = &mut self.run else { return Ok(()) };
        let Some(segment) = run.take_segment(next) else { return Ok(()) };
        let mut index = segment.index;
        let fragments: Vec<FragmentTrack<'_>> = index
            .tracks
            .iter()
            .map(|span| FragmentTrack {
                track_id: span.track + 1,
                base_dts: span.base_dts,
                samples: &span.samples,
            })
            .collect();
        let head = encode_fragment_head(self.next_fragment, &fragments)?;
        self.next_fragment = self.next_fragment.wrapping_add(1);
        for (span, offset) in index.tracks.iter_mut().zip(&head.data_offsets) {
            span.data_offset = u32::try_from(*offset).map_err(|_| MuxError::Overflow {
                field: "data_offset",
                value: *offset,
                max: u64::from(u32::MAX),
            })?;
        }
        self.untimed.push(ClosedSegment {
            run: segment.run,
            tracks: segment.tracks,
            head: head.bytes,
            payload: segment.payload,
            len: head.total_len,
            index,
            media_start_us: segment.media_start_us,
            media_end_us: segment.media_end_us,
            wall_offset_us: 0,
            starts_with_sync: segment.starts_with_sync,
        });
        Ok(())
    }

    /// Hands out closed segments as soon as their wall clock can be told by what has arrived until `now`.
    fn time_closed(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let Some(run) = self.run.as_ref().filter(|_| !self.untimed.is_empty()) else { return };
        let bytes_max = 2 * self.settings.bytes_max as u64;
        if !run.may_be_backlog(now) || self.untimed.iter().map(|segment| segment.len).sum::<u64>() > bytes_max
        {
            self.release(out);
        }
    }

    /// Hands out closed segments, on the wall clock as far as it is known.
    fn release(&mut self, out: &mut Vec<Output>) {
        let Some(run) = self.run.as_mut().filter(|_| !self.untimed.is_empty()) else { return };
        let wall_offset_us = run.wall_offset_us();
        out.extend(self.untimed.drain(..).map(|mut segment| {
            segment.wall_offset_us = wall_offset_us;
            Output::Segment(Box::new(segment))
        }));
    }
}

/// How a sample's timestamp relates to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    /// It continues the run.
    Follows,
    /// The publisher's clock jumped.
    Jump,
    /// It belongs to the clock that a jump has just left: keeping it would jump back and forth.
    Straggler,
}
