//! The run and the segment that are still growing.

use bytes::Bytes;
use mediahooks_media::sample::{Sample, SampleInfo, Ticks, TrackConfig, TrackKind};
use mediahooks_model::Timestamp;

use super::{Judgement, RUN_ORIGIN_US, SegmenterSettings};
use crate::clock::WallClock;
use crate::index::{SegmentIndex, TrackSpan};

/// A group of pictures shorter than this shares a segment with the next one, in microseconds.
const SHORTEST_US: i64 = 300_000;

/// How much longer than its piece a segment may stay open for a group of pictures that comes a little late, or for
/// a track that lags, in microseconds.
const GRACE_US: i64 = 50_000;

/// Samples of a track that are further apart than this, and than three times the step before, have a gap
/// between them, in microseconds.
const GAP_US: i64 = 1_000_000;

/// A track whose samples are this far apart is not expected to send in between, in microseconds: slides.
const SPARSE_US: i64 = 1_000_000;

/// How much further the other tracks have to be, than where samples were late so far, before it is known that a
/// track has sent nothing up to there, in microseconds: a track whose samples are far apart, and one that sends
/// steadily and has stalled. The one that has stalled may also be late as never before.
const SPARSE_LAG_US: i64 = 500_000;
const STEADY_LAG_US: i64 = 2_000_000;

/// A sample that is this much further from all before it than their arrivals are apart, in microseconds, has leaped.
const LEAP_US: i64 = 200_000;

/// For how long after a run's first sample others may come at once that were captured before it began, in microseconds:
/// what an encoder or a relay has kept back.
const BACKLOG_ARRIVES_US: i64 = 650_000;

/// For how long after a jump samples on the clock it left are taken for stragglers, in microseconds.
const STRAGGLERS_US: i64 = 1_000_000;

/// The current run of a feed.
#[derive(Debug)]
pub(super) struct OpenRun {
    number: u32,
    /// The publisher's clock at the run's first sample, in microseconds.
    origin_us: i64,
    started: Timestamp,
    by_jump: bool,
    tracks: Vec<OpenTrack>,
    /// Number of tracks that stored segments already know of; none when one of them is to be told anew.
    announced: usize,
    clock: WallClock,
    /// Length of the segment that was taken last, in microseconds.
    taken_us: i64,
    /// Time on the run's clock, in microseconds, and arrival of the latest sample of any track.
    latest: (i64, Timestamp),
    /// Longest span of the open segment before it is cut at a frame that is no sync sample.
    piece_us: i64,
    /// Whether the latest group of pictures fitted into one piece.
    group_fits: bool,
    last_sync_us: Option<i64>,
    opened: Option<Timestamp>,
    /// Decode times of the first and the latest sample of the open segment, in microseconds; absent without samples.
    span_us: Option<(i64, i64)>,
    samples: usize,
    bytes: usize,
    /// Time on the run's clock, in microseconds, up to which everything is known to have been received.
    received_us: i64,
}

#[derive(Debug)]
struct OpenTrack {
    config: TrackConfig,
    /// Subtracted from the publisher's timestamps, in ticks.
    base: Ticks,
    last_dts: Option<Ticks>,
    /// The latest presentation time.
    last_pts: Ticks,
    /// The largest composition offset, in ticks.
    reordered: i32,
    /// The publisher's own stamp of the last sample and its arrival.
    last_seen: Option<(i64, Timestamp)>,
    /// Duration of the last sample that had a usual one: what a sample is given whose successor is
    /// not known.
    usual_duration: u32,
    /// Between the two latest samples, in ticks.
    last_step: i64,
    /// By how much a sample was older than what had come of the other tracks, at most, in microseconds.
    behind_us: i64,
    samples: Vec<Sample>,
}

/// What [`OpenRun::take_segment`] hands over.
pub(super) struct TakenSegment {
    pub run: u32,
    pub tracks: Option<Vec<TrackConfig>>,
    pub index: SegmentIndex,
    pub payload: Vec<Bytes>,
    pub media_start_us: i64,
    pub media_end_us: i64,
    pub starts_with_sync: bool,
}

impl OpenRun {
    pub(super) fn new(
        number: u32,
        origin_us: i64,
        started: Timestamp,
        by_jump: bool,
        settings: &SegmenterSettings,
    ) -> Self {
        Self {
            number,
            origin_us,
            started,
            by_jump,
            tracks: Vec::new(),
            announced: 0,
            clock: WallClock::default(),
            taken_us: 0,
            latest: (RUN_ORIGIN_US, started),
            piece_us: settings.piece_us,
            group_fits: false,
            last_sync_us: None,
            opened: None,
            span_us: None,
            samples: 0,
            bytes: 0,
            received_us: i64::MIN,
        }
    }

    pub(super) fn has_track(&self, kind: TrackKind) -> bool {
        self.tracks.iter().any(|track| track.config.kind == kind)
    }

    /// Adds what `config` tells of its track's colours and the run does not know yet. The first told stays.
    pub(super) fn learn(&mut self, config: &TrackConfig) {
        let track = self.tracks.iter_mut().find(|track| track.config.kind == config.kind);
        if track.is_some_and(|track| track.config.learn(&config.told)) {
            self.announced = 0;
        }
    }

    /// When the first sample of the open segment arrived.
    pub(super) fn opened(&self) -> Option<Timestamp> {
        self.opened
    }

    /// Moves what is known of arrivals by `by_us`; see [`super::Segmenter::set_clock`].
    pub(super) fn set_clock(&mut self, by_us: i64) {
        self.started = self.started.plus_micros(by_us);
        self.latest.1 = self.latest.1.plus_micros(by_us);
        for (_, arrival) in self.tracks.iter_mut().filter_map(|track| track.last_seen.as_mut()) {
            *arrival = arrival.plus_micros(by_us);
        }
        self.clock.set(by_us);
    }

    /// Whether samples that arrive by `now` may be what a publisher has kept back: they tell nothing of when they were
    /// captured, before what is live has come.
    pub(super) fn may_be_backlog(&self, now: Timestamp) -> bool {
        self.clock.is_unset() && (0..BACKLOG_ARRIVES_US).contains(&now.micros_since(self.started))
    }

    /// The difference, wall clock minus media clock, of the segments that were taken since the last call.
    pub(super) fn wall_offset_us(&mut self) -> i64 {
        self.clock.close_segment(self.taken_us)
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether nothing of any track is expected soon.
    pub(super) fn is_sparse(&self) -> bool {
        self.tracks.iter().all(OpenTrack::is_sparse)
    }

    /// See [`super::Segmenter::held`].
    pub(super) fn held_until_us(&self, now: Timestamp) -> Option<i64> {
        let picture = self.tracks.iter().find(|track| track.config.kind == TrackKind::Video)?;
        if !picture.samples.is_empty() {
            return None;
        }
        // Of slides no other one was expected. A steady publisher that sends nothing may be gone: what came of the
        // other track tells.
        let now_us = now.as_micros().saturating_sub(self.clock.current()?);
        let is_slide = picture.is_sparse() || picture.last_step == 0;
        let until_us = if is_slide { now_us } else { self.latest.0.min(now_us) };
        let end = Ticks(picture.last_pts.0.saturating_add(i64::from(picture.usual_duration)));
        let held_us = until_us.saturating_sub(end.to_micros(picture.config.timescale));
        // The last picture of a steady track lasts as long as its kind does: its publisher needs a moment to leave.
        let brief_us = if picture.is_sparse() { 0 } else { SPARSE_US };
        (held_us > brief_us).then_some(until_us)
    }

    /// See [`super::Received::reordered_us`].
    pub(super) fn reordered_us(&self) -> i64 {
        let track = self.tracks.iter().find(|track| track.config.kind == TrackKind::Video);
        track.map_or(0, |track| Ticks(track.reordered.into()).to_micros(track.config.timescale))
    }

    /// Up to when everything has been received; see [`super::Segmenter::received`].
    pub(super) fn received(&mut self, now: Timestamp) -> Option<Timestamp> {
        let offset_us = self.clock.current()?;
        let now_us = now.as_micros().saturating_sub(offset_us);
        self.received_us = self.received_us.max(self.received_until_us(now_us)?);
        // Nothing is captured later than it arrives, whatever a clock says that has not been corrected yet.
        Some(Timestamp::from_micros(self.received_us.saturating_add(offset_us)).min(now))
    }

    /// Up to when everything has been received, in microseconds of the run's clock, which shows `now_us`. Pictures
    /// decide where there are any: with reordering a later one may be shown earlier, but never before it is decoded.
    /// Where none comes, the sound tells that none was sent; of slides without sound, the time.
    fn received_until_us(&self, now_us: i64) -> Option<i64> {
        let picture = self.tracks.iter().find(|track| track.config.kind == TrackKind::Video);
        let track = picture.or_else(|| self.tracks.first())?;
        let own_us = track.last_us()?;
        let step_us = track.step_us();
        let lag_us = if step_us >= SPARSE_US { SPARSE_LAG_US } else { STEADY_LAG_US };
        let others = self.tracks.iter().filter(|other| other.config.kind != track.config.kind);
        let silent_until_us = match others.filter_map(OpenTrack::last_us).max() {
            Some(other_us) => other_us.saturating_sub(track.behind_us).saturating_sub(lag_us),
            None if step_us >= SPARSE_US => now_us.saturating_sub(lag_us).min(own_us.saturating_add(step_us)),
            None => own_us,
        };
        Some(own_us.max(silent_until_us))
    }

    /// Decides whether a sample stamped `dts_us` by its publisher continues this run. A pause is
    /// not a jump: the arrivals are as far apart as the timestamps then.
    ///
    /// Only a track that jumps against its own samples begins a run. One that begins far from the
    /// others has a clock of its own, and if that began a run, the others would be far from it in
    /// turn, without end. It follows, and [`OpenRun::add_track`] brings it onto the run's clock.
    /// Shortly after a jump it is more likely what is left of the clock before.
    pub(super) fn judge(
        &self,
        kind: TrackKind,
        dts_us: i64,
        arrival: Timestamp,
        settings: &SegmenterSettings,
    ) -> Judgement {
        let own =
            self.tracks.iter().find(|track| track.config.kind == kind).and_then(|track| track.last_seen);
        let follows = match own {
            Some(last) => is_near(last, dts_us, arrival, settings.jump_us, settings.back_us),
            None => self.is_on_clock(dts_us, arrival, settings),
        };
        if follows {
            Judgement::Follows
        } else if self.by_jump && arrival.micros_since(self.started) < STRAGGLERS_US {
            Judgement::Straggler
        } else if own.is_some() {
            Judgement::Jump
        } else {
            Judgement::Follows
        }
    }

    /// Whether the first sample of a track, stamped `dts_us` by its publisher, is on the clock that
    /// the run began with. It may be older than the other track's latest.
    fn is_on_clock(&self, dts_us: i64, arrival: Timestamp, settings: &SegmenterSettings) -> bool {
        let run_us = dts_us.saturating_sub(self.origin_us).saturating_add(RUN_ORIGIN_US);
        is_near(self.latest, run_us, arrival, settings.jump_us, settings.jump_us)
    }

    /// Adds a track whose first sample is `first`, which completes the configuration where the
    /// codec tells its picture size only there. A track that is not on the run's clock gets a base
    /// of its own: its first sample is as much later than the latest one as it arrived later.
    pub(super) fn add_track(
        &mut self,
        config: &TrackConfig,
        first: &Sample,
        arrival: Timestamp,
        settings: &SegmenterSettings,
    ) {
        let mut config = config.clone();
        if let Some(codec) = config.codec.with_dimensions_from_sample(&first.data) {
            config.codec = codec;
        }
        let first_us = first.dts.to_micros(config.timescale);
        let is_on_clock = self.is_on_clock(first_us, arrival, settings);
        if self.tracks.is_empty() && !is_on_clock {
            // Nothing was kept of the clock that the run began with.
            self.origin_us = first_us;
            self.latest = (RUN_ORIGIN_US, arrival);
        }
        let base = if is_on_clock || self.tracks.is_empty() {
            Ticks::from_micros(self.origin_us.saturating_sub(RUN_ORIGIN_US), config.timescale)
        } else {
            let (latest_us, latest_arrival) = self.latest;
            let now_us = latest_us.saturating_add(arrival.micros_since(latest_arrival).max(0));
            Ticks(first.dts.0.saturating_sub(Ticks::from_micros(now_us, config.timescale).0))
        };
        let usual_duration = (config.timescale / 30).max(1);
        self.tracks.push(OpenTrack {
            config,
            base,
            last_dts: None,
            last_pts: Ticks(i64::MIN),
            reordered: 0,
            last_seen: None,
            usual_duration,
            last_step: 0,
            behind_us: 0,
            samples: Vec::new(),
        });
    }

    /// Brings a sample onto the run's clock. A decode time at or before its predecessor's becomes the
    /// next tick after it; the presentation time stays.
    pub(super) fn place(&self, kind: TrackKind, mut sample: Sample) -> Sample {
        let Some(track) = self.tracks.iter().find(|track| track.config.kind == kind) else { return sample };
        let dts = sample.dts.0.saturating_sub(track.base.0);
        let earliest = track.last_dts.map_or(0, |last| last.0.saturating_add(1));
        if dts < earliest {
            let moved = i32::try_from(earliest - dts).unwrap_or(i32::MAX);
            sample.cts_offset = sample.cts_offset.saturating_sub(moved);
        }
        sample.dts = Ticks(dts.max(earliest));
        sample
    }

    /// Whether [`OpenRun::place`] put a sample that was stamped `stamped` elsewhere than its stamp says.
    pub(super) fn is_restamped(&self, kind: TrackKind, stamped: Ticks, placed: Ticks) -> bool {
        let track = self.tracks.iter().find(|track| track.config.kind == kind);
        track.is_some_and(|track| stamped.0.saturating_sub(track.base.0) != placed.0)
    }

    /// How long nothing came, in microseconds, before a sample of the run's clock, if that is a gap.
    pub(super) fn gap_before(&self, kind: TrackKind, dts: Ticks) -> Option<i64> {
        let track = self.tracks.iter().find(|track| track.config.kind == kind)?;
        let step = dts.0.saturating_sub(track.last_dts?.0);
        let step_us = Ticks(step).to_micros(track.config.timescale);
        (step_us > GAP_US && step > track.last_step.saturating_mul(3)).then_some(step_us)
    }

    /// Whether the encoder's clock leaps with a sample, which is on the run's clock: it comes at once, and is later than all
    /// before it by more than samples of its track usually are. By how much is in no segment, so that it shows between them.
    pub(super) fn leaps_before(&self, kind: TrackKind, dts: Ticks, arrival: Timestamp) -> bool {
        let track = self.tracks.iter().find(|track| track.config.kind == kind);
        let Some((track, last)) = track.and_then(|track| Some((track, track.last_dts?))) else {
            return false;
        };
        let is_usual = dts.0.saturating_sub(last.0) <= track.last_step.saturating_mul(3);
        let dts_us = dts.to_micros(track.config.timescale);
        !is_usual && self.span_us.is_some() && !is_near(self.latest, dts_us, arrival, LEAP_US, i64::MAX)
    }

    /// Decides whether the open segment ends before `sample`, which is on the run's clock.
    pub(super) fn closes_before(
        &self,
        kind: TrackKind,
        sample: &Sample,
        arrival: Timestamp,
        settings: &SegmenterSettings,
    ) -> bool {
        let Some((first_us, last_us)) = self.span_us else { return false };
        let Some(track) = self.tracks.iter().find(|track| track.config.kind == kind) else { return false };
        let dts_us = sample.dts.to_micros(track.config.timescale);
        if self.bytes + sample.data.len() > settings.bytes_max || self.samples >= settings.samples_max {
            return true;
        }
        // Neither a silent video track nor one that lags may hold the segment open. Of a broadcast in real time the
        // arrivals tell, whatever lies between the tracks.
        let open_us = self.opened.map_or(0, |opened| arrival.micros_since(opened));
        if open_us >= settings.piece_us + GRACE_US
            || last_us.max(dts_us) - first_us >= settings.piece_us + settings.piece_us / 2
        {
            return true;
        }
        if kind == TrackKind::Audio && self.has_track(TrackKind::Video) {
            return false;
        }
        let Some(own_first) = track.samples.first() else { return false };
        let span_us = dts_us - own_first.dts.to_micros(track.config.timescale);
        if kind == TrackKind::Video && sample.is_sync {
            // The rest of a group that was cut is a segment, however short: the next ones begin with the groups.
            return span_us >= SHORTEST_US || !self.starts_with_sync();
        }
        // A group that fitted is given a little longer to be followed by the next sync sample.
        span_us >= if self.group_fits { self.piece_us + GRACE_US } else { self.piece_us }
    }

    /// Appends a sample that [`OpenRun::place`] has brought onto the run's clock.
    pub(super) fn append(
        &mut self,
        kind: TrackKind,
        sample: Sample,
        arrival: Timestamp,
        settings: &SegmenterSettings,
    ) {
        let Some(track) = self.tracks.iter_mut().find(|track| track.config.kind == kind) else { return };
        let timescale = track.config.timescale;
        if let Some(last) = track.last_dts {
            track.last_step = sample.dts.0.saturating_sub(last.0);
            track.learn_duration(track.last_step);
        }
        let run_us = sample.dts.to_micros(timescale);
        let stamped_us = Ticks(sample.dts.0.saturating_add(track.base.0)).to_micros(timescale);
        track.behind_us = track.behind_us.max(self.latest.0.saturating_sub(run_us));
        track.last_dts = Some(sample.dts);
        track.last_pts = track.last_pts.max(sample.pts());
        track.reordered = track.reordered.max(sample.cts_offset);
        track.last_seen = Some((stamped_us, arrival));
        if run_us >= self.latest.0 {
            self.latest = (run_us, arrival);
        }
        self.clock.observe(sample.pts().to_micros(timescale), arrival);
        self.opened.get_or_insert(arrival);
        let (first_us, last_us) = self.span_us.unwrap_or((run_us, run_us));
        self.span_us = Some((first_us.min(run_us), last_us.max(run_us)));
        self.samples += 1;
        self.bytes += sample.data.len();
        if kind == TrackKind::Video && sample.is_sync {
            self.learn_group(run_us, settings.piece_us);
        }
        if let Some(track) = self.tracks.iter_mut().find(|track| track.config.kind == kind) {
            track.samples.push(sample);
        }
    }

    /// Long groups of pictures are stored in equal pieces, so that no sliver is left before the next
    /// sync sample.
    fn learn_group(&mut self, sync_us: i64, piece_us: i64) {
        if let Some(last) = self.last_sync_us.replace(sync_us) {
            let group_us = sync_us.saturating_sub(last).max(1);
            let pieces = (group_us - 1) / piece_us + 1;
            self.piece_us = group_us / pieces.max(1);
            self.group_fits = pieces <= 1;
        }
    }

    /// Takes the open segment out, if it holds anything.
    pub(super) fn take_segment(&mut self, next: Option<(TrackKind, Ticks)>) -> Option<TakenSegment> {
        let (first_us, last_us) = self.span_us.take()?;
        self.taken_us = last_us - first_us;
        let starts_with_sync = self.starts_with_sync();
        let tracks = (self.announced < self.tracks.len())
            .then(|| self.tracks.iter().map(|track| track.config.clone()).collect());
        self.announced = self.tracks.len();
        let (mut start_us, mut end_us) = (i64::MAX, i64::MIN);
        let mut index = SegmentIndex::default();
        let mut payload = Vec::new();
        for (number, track) in (0u32..).zip(&mut self.tracks) {
            let successor = next.filter(|(kind, _)| *kind == track.config.kind).map(|(_, dts)| dts);
            let Some(span) = track.take_span(number, successor) else { continue };
            for (dts, sample) in span.0.timed() {
                let pts = Ticks(dts.0.saturating_add(i64::from(sample.cts_offset)));
                start_us = start_us.min(pts.to_micros(track.config.timescale));
                let end = Ticks(pts.0.saturating_add(i64::from(sample.duration)));
                end_us = end_us.max(end.to_micros(track.config.timescale));
            }
            index.tracks.push(span.0);
            payload.extend(span.1);
        }
        self.opened = None;
        self.samples = 0;
        self.bytes = 0;
        Some(TakenSegment {
            run: self.number,
            tracks,
            index,
            payload,
            media_start_us: start_us,
            media_end_us: end_us,
            starts_with_sync,
        })
    }

    fn starts_with_sync(&self) -> bool {
        match self.tracks.iter().find(|track| track.config.kind == TrackKind::Video) {
            Some(video) => video.samples.first().is_some_and(|sample| sample.is_sync),
            None => true,
        }
    }
}

/// Whether a sample stamped `stamp_us` follows the `last` stamp and arrival: it is at most
/// `ahead_max_us` further from that than their arrivals are apart, and at most `back_max_us` before.
fn is_near(
    last: (i64, Timestamp),
    stamp_us: i64,
    arrival: Timestamp,
    ahead_max_us: i64,
    back_max_us: i64,
) -> bool {
    let step_us = stamp_us.saturating_sub(last.0);
    let ahead_us = step_us.saturating_sub(arrival.micros_since(last.1).max(0));
    ahead_us <= ahead_max_us && step_us >= -back_max_us
}

impl OpenTrack {
    /// Time of the latest sample on the run's clock, in microseconds.
    fn last_us(&self) -> Option<i64> {
        Some(self.last_dts?.to_micros(self.config.timescale))
    }

    /// Between the two latest samples, in microseconds.
    fn step_us(&self) -> i64 {
        Ticks(self.last_step).to_micros(self.config.timescale)
    }

    /// Whether its samples are so far apart that none is expected soon after another.
    fn is_sparse(&self) -> bool {
        self.step_us() >= SPARSE_US
    }

    /// Learns from the step between two samples, unless it is a pause, or a single tick:
    /// [`OpenRun::place`] makes such steps, no encoder does.
    fn learn_duration(&mut self, step: i64) {
        if (2..=i64::from(self.config.timescale)).contains(&step) {
            self.usual_duration = u32::try_from(step).unwrap_or(self.usual_duration);
        }
    }

    /// How long `sample` lasts, in ticks, as far as can be told without its successor.
    fn likely_duration(&self, sample: &Sample) -> u32 {
        let codec = &self.config.codec;
        let frame_len = codec.audio_frame_len(&sample.data).zip(codec.audio_sample_rate());
        let ticks = frame_len
            .map(|(len, rate)| Ticks(i64::from(len)).rescale(rate, self.config.timescale).0)
            .and_then(|ticks| u32::try_from(ticks).ok());
        ticks.unwrap_or(self.usual_duration)
    }

    /// The index entry and the bytes of what the track has in the open segment.
    fn take_span(&mut self, number: u32, successor: Option<Ticks>) -> Option<(TrackSpan, Vec<Bytes>)> {
        let samples = std::mem::take(&mut self.samples);
        let base_dts = samples.first()?.dts;
        let ends = samples.iter().skip(1).map(|sample| sample.dts).map(Some).chain([successor]);
        let infos = samples.iter().zip(ends).map(|(sample, end)| {
            let known = end.and_then(|end| u32::try_from(end.0 - sample.dts.0).ok());
            SampleInfo {
                duration: known.unwrap_or_else(|| self.likely_duration(sample)),
                size: u32::try_from(sample.data.len()).unwrap_or(u32::MAX),
                cts_offset: sample.cts_offset,
                is_sync: sample.is_sync,
            }
        });
        let span = TrackSpan { track: number, base_dts, data_offset: 0, samples: infos.collect() };
        Some((span, samples.into_iter().map(|sample| sample.data).collect()))
    }
}
