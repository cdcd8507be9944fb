//! What every case needs: a recorder on a simulated clock, a publisher, what was counted, and a reader of
//! files that is not ours.
#![allow(dead_code, reason = "each case uses a part of it")]

use std::sync::Arc;

use mediahooks_database::Asset;
use mediahooks_ingest::rtmp::{self, RtmpSettings};
use mediahooks_model::{AssetState, AssetType, GapMode, GapReason, Limits, Metadata, PublishToken};
use mediahooks_recorder::{ClipRequest, DiskLimits, RecorderSettings};
use mediahooks_storage::{Files, SystemFiles};
use mediahooks_testkit::counters::Counters;
use mediahooks_testkit::player;
use mediahooks_testkit::synthetic::{self, Simulated, SimulatedClock, Tag};
use metrics::LocalRecorderGuard;
use mp4_atom::FourCC;
use tokio_util::sync::CancellationToken;

use crate::common::{Bench, SECRET, TestClock, eventually, token};

pub struct Stage {
    pub bench: Bench,
    pub clock: Arc<TestClock>,
    pub counters: &'static Counters,
    _listening: LocalRecorderGuard<'static>,
}

/// A finished recording or clip.
pub struct Finished {
    pub asset: Asset,
    pub metadata: Metadata,
    pub file: Vec<u8>,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(token(), Limits::default()).await
    }

    pub async fn with(token: PublishToken, limits: Limits) -> Self {
        Self::on_disk(token, limits, DiskLimits::default(), Arc::new(SystemFiles)).await
    }

    pub async fn on_disk(
        token: PublishToken,
        limits: Limits,
        disk: DiskLimits,
        files: Arc<dyn Files>,
    ) -> Self {
        // One test, one process: nothing is gained by giving it back.
        let counters: &'static Counters = Box::leak(Box::default());
        let listening = counters.listen();
        let clock = Arc::new(TestClock(SimulatedClock::new()));
        let settings = RecorderSettings { clock: clock.clone(), disk, ..limits.into() };
        let bench = Bench::on_disk(token, settings, files).await;
        Self { bench, clock, counters, _listening: listening }
    }

    pub async fn publish(&self, stream: &str, params: &[(&str, &str)]) -> Simulated {
        let sink = self.bench.open_feed(stream, params).await.unwrap();
        Simulated::new(sink, &self.clock.0)
    }

    pub async fn push(&self, publisher: &mut Simulated, tags: &[Tag]) {
        publisher.push(&self.clock.0, tags).await.unwrap();
    }

    pub async fn end(&self, publisher: Simulated) {
        publisher.sink.finish(mediahooks_ingest::gate::PublishEnd::Unpublished).await;
    }

    /// Publishes all of a broadcast on the stream `stage` and ends it.
    pub async fn broadcast(&self, tags: &[Tag]) {
        let mut publisher = self.publish("stage", &[]).await;
        self.push(&mut publisher, tags).await;
        self.end(publisher).await;
    }

    /// As [`Stage::broadcast`], over a socket, as fast as it is taken: ten seconds at most, for it comes all at one time.
    pub async fn over_rtmp(&self, tags: &[Tag]) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtmp://{}/v2/pub/stage?token={SECRET}", listener.local_addr().unwrap());
        let (gate, shutdown) = (self.bench.recorder.gate(), CancellationToken::new());
        let server = tokio::spawn(rtmp::serve(listener, gate, RtmpSettings::default(), shutdown.clone()));
        synthetic::send(&url, tags).await.unwrap();
        eventually(async || self.bench.recorder.live_feeds().is_empty().then_some(())).await;
        shutdown.cancel();
        server.await.unwrap();
    }

    /// Every recording, in order; all have to be complete.
    pub async fn recordings(&self) -> Vec<Finished> {
        let mut finished = Vec::new();
        for asset in self.bench.assets(AssetType::Recording).await {
            finished.push(self.finished(asset).await);
        }
        finished
    }

    /// The one recording there is.
    pub async fn recording(&self) -> Finished {
        let mut recordings = self.recordings().await;
        assert_eq!(recordings.len(), 1);
        recordings.remove(0)
    }

    pub async fn finished(&self, asset: Asset) -> Finished {
        let AssetState::Complete { metadata } = &asset.state else { panic!("{asset:?}") };
        let (metadata, file) = (metadata.as_ref().clone(), self.bench.file(asset.id).await);
        Finished { asset, metadata, file }
    }

    /// Clips of `from_ms..to_ms` of the wall clock, after the simulation's start. Half a picture before, so
    /// that no picture lies on an edge.
    pub async fn clips(&self, from_ms: i64, to_ms: i64) -> Vec<Finished> {
        let request = self.clip_request(from_ms, to_ms);
        let mut finished = Vec::new();
        for asset in self.bench.recorder.create_clips(request).await.unwrap() {
            finished.push(self.finished(asset).await);
        }
        finished
    }

    pub fn clip_request(&self, from_ms: i64, to_ms: i64) -> ClipRequest {
        let begun = mediahooks_model::Timestamp::from_micros(SimulatedClock::new().wall_us());
        ClipRequest {
            stop: Some(begun.plus_micros(to_ms * 1000 - 20_000)),
            ..ClipRequest::new(
                "stage".parse().unwrap(),
                begun.plus_micros(from_ms * 1000 - 20_000),
                mediahooks_model::Timestamp::from_micros(self.clock.0.wall_us()),
            )
        }
    }

    /// A clip that is one file over whatever breaks there are.
    pub async fn clip_over_breaks(&self, from_ms: i64, to_ms: i64, gaps: GapMode) -> Finished {
        let request = ClipRequest { gaps, ..self.clip_request(from_ms, to_ms) };
        let mut clips = self.bench.recorder.create_clips(request).await.unwrap();
        assert_eq!(clips.len(), 1);
        self.finished(clips.remove(0)).await
    }

    /// Asserts that a clip tells of one break and when it was, in milliseconds after the simulation's start, within
    /// a frame of sound.
    pub fn assert_gap(&self, clip: &Finished, reason: GapReason, ms: std::ops::Range<i64>) {
        let [gap] = clip.metadata.gaps.as_slice() else { panic!("{:?}", clip.metadata.gaps) };
        assert_eq!(gap.reason, reason);
        let begun = mediahooks_model::Timestamp::from_micros(SimulatedClock::new().wall_us());
        for (told, wanted_ms) in [(gap.start_time, ms.start), (gap.stop_time, ms.end)] {
            let told_ms = told.micros_since(begun) / 1000;
            assert!((told_ms - wanted_ms).abs() <= 22, "{gap:?}: {told_ms} is not {wanted_ms}");
        }
        assert_eq!(gap.duration_ms, gap.stop_time.since(gap.start_time).as_millis() as u64);
    }

    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.counters.sum(&format!("mediahooks_media_{name}_total"), labels)
    }
}

impl Finished {
    /// The numbers of the pictures in the file, in decode order.
    pub fn pictures(&self) -> Vec<u32> {
        synthetic::pictures(&self.file)
    }

    pub fn sounds(&self) -> Vec<u32> {
        synthetic::sounds(&self.file)
    }

    /// What a player shows of the pictures.
    pub fn shown(&self) -> Vec<Sample> {
        self.track(b"vide")
    }

    /// What a player plays of the sound.
    pub fn heard(&self) -> Vec<Sample> {
        self.track(b"soun")
    }

    pub fn duration_ms(&self) -> i64 {
        self.metadata.duration_ms.unwrap().try_into().unwrap()
    }

    fn track(&self, handler: &[u8; 4]) -> Vec<Sample> {
        let moov = player::moov(&self.file);
        let track = moov.trak.iter().find(|trak| trak.mdia.hdlr.handler == FourCC::new(handler));
        let shown = track.map_or_else(Vec::new, |track| player::shown(&moov, track));
        let sample = |shown: player::Shown| {
            let bytes = &self.file[shown.place];
            let numbers = [synthetic::pictures(bytes), synthetic::sounds(bytes)].concat();
            let number = numbers.first().copied().unwrap_or(u32::MAX);
            Sample { at_ms: shown.at_ms, until_ms: shown.until_ms, number, is_sync: shown.is_sync }
        };
        shown.into_iter().map(sample).collect()
    }
}

/// A sample as a player shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    /// From when on, in milliseconds (rounded down) of the player's clock.
    pub at_ms: i64,
    /// Until when, by its own duration.
    pub until_ms: i64,
    /// The number in its bytes.
    pub number: u32,
    pub is_sync: bool,
}

/// The numbers of samples, in order.
pub fn numbers(samples: &[Sample]) -> Vec<u32> {
    samples.iter().map(|sample| sample.number).collect()
}
