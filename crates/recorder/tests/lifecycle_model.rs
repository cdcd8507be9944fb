//! Everything that can happen to assets, in any order: publish, clip, delete, expire, download, export, restart.
//!
//! Whatever the order: the file of an asset never changes and is there until the asset is deleted; a download
//! that is open reads to its end; an export that began is the whole file; nothing refers to what is gone; and when everything is deleted, nothing is
//! left. `PROPTEST_CASES` sets the number of orders (default 12).

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::{Bench, TestClock, eventually, token};
use futures::TryStreamExt;
use mediahooks_ingest::gate::PublishEnd;
use mediahooks_model::{AssetStatus, AssetType, GapMode, Limits, MediaAssetId, Timestamp};
use mediahooks_recorder::check::check;
use mediahooks_recorder::{ClipRequest, Download, DownloadError, Export, ExportError, RecorderSettings};
use mediahooks_testkit::synthetic::{Simulated, SimulatedClock, Source};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone)]
enum Step {
    Publish {
        stream: u8,
        ms: i64,
    },
    End {
        stream: u8,
    },
    /// Also of what is still to come.
    Clip {
        stream: u8,
        ago_ms: i64,
        len_ms: i64,
        gaps: GapMode,
    },
    Delete {
        which: usize,
    },
    DeleteAll {
        asset_type: AssetType,
    },
    Expire {
        days: i64,
    },
    OpenDownload {
        which: usize,
    },
    ReadDownload,
    BeginExport {
        which: usize,
    },
    FinishExport,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0u8..2;
    prop_oneof![
        6 => (stream.clone(), 300i64..4000).prop_map(|(stream, ms)| Step::Publish { stream, ms }),
        2 => stream.clone().prop_map(|stream| Step::End { stream }),
        5 => (stream, -2000i64..6000, 1000i64..6000, prop::sample::select(GapMode::ALL.to_vec()))
            .prop_map(|(stream, ago_ms, len_ms, gaps)| Step::Clip { stream, ago_ms, len_ms, gaps }),
        3 => (0usize..50).prop_map(|which| Step::Delete { which }),
        1 => prop_oneof![Just(AssetType::Recording), Just(AssetType::Clip), Just(AssetType::Timeline)]
            .prop_map(|asset_type| Step::DeleteAll { asset_type }),
        1 => (0i64..3).prop_map(|days| Step::Expire { days }),
        3 => (0usize..50).prop_map(|which| Step::OpenDownload { which }),
        3 => Just(Step::ReadDownload),
        2 => (0usize..50).prop_map(|which| Step::BeginExport { which }),
        2 => Just(Step::FinishExport),
        1 => Just(Step::Restart),
    ]
}

struct World {
    bench: Bench,
    clock: Arc<TestClock>,
    sweeper: CancellationToken,
    live: BTreeMap<u8, (Simulated, Source)>,
    files: BTreeMap<MediaAssetId, Vec<u8>>,
    downloads: Vec<(MediaAssetId, Download)>,
    exports: Vec<(MediaAssetId, Export)>,
}

fn stream(number: u8) -> String {
    format!("stream{number}")
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(TestClock(SimulatedClock::new()));
        let settings = RecorderSettings { clock: clock.clone(), ..Limits::default().into() };
        let bench = Bench::with(token(), settings).await;
        let sweeper = sweep(&bench);
        let (live, files) = (BTreeMap::new(), BTreeMap::new());
        Self { bench, clock, sweeper, live, files, downloads: Vec::new(), exports: Vec::new() }
    }

    async fn take(mut self, step: Step) -> Self {
        match step {
            Step::Publish { stream: number, ms } => {
                if !self.live.contains_key(&number) {
                    let sink = self.bench.open_feed(&stream(number), &[]).await.unwrap();
                    let mut publisher = Simulated::new(sink, &self.clock.0);
                    let source = Source { picture_bytes: 600, ..Source::default() };
                    publisher.push(&self.clock.0, &source.headers()).await.unwrap();
                    self.live.insert(number, (publisher, source));
                }
                let (publisher, source) = self.live.get_mut(&number).unwrap();
                publisher.push(&self.clock.0, &source.millis(ms)).await.unwrap();
            }
            Step::End { stream } => {
                if let Some((publisher, _)) = self.live.remove(&stream) {
                    publisher.sink.finish(PublishEnd::Unpublished).await;
                }
            }
            Step::Clip { stream: number, ago_ms, len_ms, gaps } => {
                let now = Timestamp::from_micros(self.clock.0.wall_us());
                let start = now.plus_micros(-ago_ms * 1000);
                let request = ClipRequest {
                    stop: Some(start.plus_micros(len_ms * 1000)),
                    gaps,
                    ..ClipRequest::new(stream(number).parse().unwrap(), start, now)
                };
                // There may be nothing to clip.
                let _ = self.bench.recorder.create_clips(request).await;
            }
            Step::Delete { which } => {
                let ids = self.assets().await;
                if let Some((id, ..)) = ids.get(which % ids.len().max(1)) {
                    self.bench.recorder.delete_assets(&[*id]).await.unwrap();
                }
            }
            Step::DeleteAll { asset_type } => {
                self.bench.recorder.delete_assets_of_type(asset_type).await.unwrap();
            }
            Step::Expire { days } => {
                let steady_us = i64::try_from(self.clock.0.steady().as_micros()).unwrap();
                self.clock.0.pass_until(steady_us + days * 86_400_000_000);
            }
            Step::OpenDownload { which } => {
                let ids: Vec<MediaAssetId> = self.files.keys().copied().collect();
                let Some(id) = ids.get(which % ids.len().max(1)) else { return self };
                match self.bench.recorder.open_download(*id).await {
                    Ok(download) => self.downloads.push((*id, download)),
                    Err(DownloadError::Gone | DownloadError::NotFound) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            Step::ReadDownload => {
                if let Some((id, download)) = self.downloads.pop() {
                    let pieces: Vec<Bytes> = download.read(0..download.len).try_collect().await.unwrap();
                    assert_eq!(pieces.concat(), self.files[&id], "a download that was open");
                }
            }
            Step::BeginExport { which } => {
                let ids: Vec<MediaAssetId> = self.files.keys().copied().collect();
                let Some(id) = ids.get(which % ids.len().max(1)) else { return self };
                match self.bench.recorder.export(*id).await {
                    Ok(export) => self.exports.push((*id, export)),
                    Err(ExportError::NoFile(_)) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            Step::FinishExport => {
                if let Some((id, export)) = self.exports.pop() {
                    self.finish_export(id, export).await;
                }
            }
            Step::Restart => {
                for (id, export) in std::mem::take(&mut self.exports) {
                    self.finish_export(id, export).await;
                }
                self.sweeper.cancel();
                // What downloads read is cut off with the process.
                self.downloads.clear();
                self.live.clear();
                self.bench = self.bench.crash_and_restart().await;
                self.sweeper = sweep(&self.bench);
            }
        }
        self
    }

    async fn finish_export(&self, id: MediaAssetId, export: Export) {
        let exported = export.done().await.unwrap();
        assert!(std::fs::read(&exported.path).unwrap() == self.files[&id], "an export of {id}");
    }

    async fn assets(&self) -> Vec<(MediaAssetId, AssetType, AssetStatus)> {
        let mut found = Vec::new();
        for asset_type in [AssetType::Recording, AssetType::Clip, AssetType::Timeline] {
            for asset in self.bench.assets(asset_type).await {
                found.push((asset.id, asset_type, asset.state.status()));
            }
        }
        found
    }

    /// What always holds.
    async fn check(&mut self) {
        for (id, asset_type, status) in self.assets().await {
            if asset_type == AssetType::Timeline || status != AssetStatus::Complete {
                continue;
            }
            let download = match self.bench.recorder.open_download(id).await {
                Ok(download) => download,
                // The sweeper came in between.
                Err(DownloadError::Gone) => continue,
                Err(error) => panic!("{id}: {error:?}"),
            };
            let pieces: Vec<Bytes> = download.read(0..download.len).try_collect().await.unwrap();
            let file = pieces.concat();
            let before = self.files.entry(id).or_insert_with(|| file.clone());
            assert!(*before == file, "the file of {id} has changed");
        }
    }

    /// Deletes everything and looks at what is left.
    async fn end(mut self) {
        for (_, (publisher, _)) in std::mem::take(&mut self.live) {
            publisher.sink.finish(PublishEnd::Unpublished).await;
        }
        // The range of every clip is over then; what a restart left is finished behind it.
        let steady_us = i64::try_from(self.clock.0.steady().as_micros()).unwrap();
        self.clock.0.pass_until(steady_us + 60_000_000);
        eventually(async || {
            let assets = self.assets().await;
            assets.iter().all(|(_, _, status)| *status != AssetStatus::Processing).then_some(())
        })
        .await;
        for (id, export) in std::mem::take(&mut self.exports) {
            self.finish_export(id, export).await;
        }
        self.bench.recorder.drain().await;
        self.check().await;
        self.downloads.clear();
        let report = check(&self.bench.database, &self.bench.storage, |_, _| {}).await.unwrap();
        // Bytes that nobody refers to may wait for the sweeper; see below.
        let dangling: Vec<_> =
            report.problems.iter().filter(|problem| !problem.contains("no asset")).collect();
        assert!(dangling.is_empty(), "{dangling:?}");
        for asset_type in [AssetType::Timeline, AssetType::Recording, AssetType::Clip] {
            let (_, refused) = self.bench.recorder.delete_assets_of_type(asset_type).await.unwrap();
            for (id, error) in refused {
                // The sweeper may have found it expired at the same moment.
                let asset = self.bench.database.asset(id).await.unwrap();
                let status = asset.map(|asset| asset.state.status());
                assert!(
                    matches!(status, None | Some(AssetStatus::Deleting | AssetStatus::Deleted)),
                    "{id}: {error:?}"
                );
            }
        }
        eventually(async || self.bench.storage.chunk_files().await.unwrap().is_empty().then_some(())).await;
        assert_eq!(self.bench.database.segment_count().await.unwrap(), 0);
        self.sweeper.cancel();
    }
}

fn sweep(bench: &Bench) -> CancellationToken {
    let sweeper = CancellationToken::new();
    tokio::spawn(bench.recorder.clone().run_sweeper(sweeper.clone()));
    sweeper
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_dangles_whatever_the_order(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world = world.take(step).await;
                world.check().await;
            }
            world.end().await;
        });
    }
}
