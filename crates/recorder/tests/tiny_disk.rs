//! A disk of 24 MB, database and all, that is filled to the last byte again and again.
//!
//! Real `ENOSPC` at whatever write it comes: a segment, an index row, a hook. Nothing is corrupt afterwards,
//! and with room again the same process goes on. Needs the right to mount a tmpfs; without it nothing is tried.

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use common::{Bench, TestClock, token};
use mediahooks_ingest::gate::PublishEnd;
use mediahooks_model::{AssetState, AssetType, Limits};
use mediahooks_recorder::check::check;
use mediahooks_recorder::{DiskLimits, RecorderSettings, Room};
use mediahooks_testkit::synthetic::{Simulated, SimulatedClock, Source, pictures};

/// A tmpfs that is unmounted when dropped.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(directory.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(directory))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Fills the disk but for `left` bytes.
fn fill(directory: &Path, left: u64) {
    let space = rustix::fs::statvfs(directory).unwrap();
    let free = space.f_bavail * space.f_frsize;
    std::fs::write(directory.join("filler"), vec![1; free.saturating_sub(left) as usize]).unwrap();
}

#[tokio::test]
async fn whatever_write_fails_nothing_is_corrupt() {
    let Some(mount) = Mount::new() else {
        eprintln!("no right to mount a tmpfs: not tried");
        return;
    };
    let directory = mount.0.path();
    let clock = Arc::new(TestClock(SimulatedClock::new()));
    // The ladder would not let it come to this.
    let disk = DiskLimits { low: Room::Bytes(0), reserve: Room::Bytes(0) };
    let settings = RecorderSettings { clock: clock.clone(), disk, ..Limits::default().into() };
    let bench = Bench::at(tempfile::tempdir_in(directory).unwrap(), token(), settings).await;
    for round in 0u64..12 {
        let filler = directory.join("filler");
        fill(directory, 60_000 + round * 37_123);
        let mut source = Source { picture_bytes: 1500, ..Source::default() };
        let mut tags = source.headers();
        tags.extend(source.seconds(30));
        // Refused, ended, or with luck taken.
        if let Ok(sink) = bench.open_feed("stage", &[]).await {
            let mut publisher = Simulated::new(sink, &clock.0);
            let ended = publisher.push(&clock.0, &tags).await;
            if let Err(ended) = ended {
                assert_eq!(ended.code, "storage_failed");
            }
            let finishing = publisher.sink.finish(PublishEnd::Disconnected);
            // Rows are tried for some seconds: room comes before they are given up, or after.
            if round % 2 == 0 {
                std::fs::remove_file(&filler).unwrap();
            }
            finishing.await;
        }
        let _ = std::fs::remove_file(&filler);
        bench.recorder.repair().await.unwrap();
        for recording in bench.assets(AssetType::Recording).await {
            assert!(matches!(recording.state, AssetState::Complete { .. }), "{round}: {recording:?}");
            let kept = pictures(&bench.file(recording.id).await);
            assert_eq!(kept, (0..kept.len() as u32).collect::<Vec<_>>(), "{round}: no hole");
        }
        let report = check(&bench.database, &bench.storage, |_, _| {}).await.unwrap();
        assert_eq!((report.problems, report.notes), (vec![], vec![]), "{round}");
        for asset_type in [AssetType::Recording, AssetType::Timeline] {
            for asset in bench.assets(asset_type).await {
                bench.recorder.delete_assets(&[asset.id]).await.unwrap();
                bench.database.remove_asset(asset.id, common::now()).await.unwrap();
            }
        }
        for (number, range) in bench.database.freed_ranges(0, 999).await.unwrap() {
            let _ = bench.storage.remove_chunk(range.timeline, range.chunk).await;
            bench.database.forget_freed(vec![number]).await.unwrap();
        }
    }
}
