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
use mediahooks_recorder::{DiskLimits, ExportDone, ExportError, RecorderSettings, Room};
use mediahooks_storage::ExportDirectory;
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

#[tokio::test]
async fn an_export_that_does_not_fit_is_told_and_leaves_nothing() {
    let Some(mount) = Mount::new() else {
        eprintln!("no right to mount a tmpfs: not tried");
        return;
    };
    let export_dir = mount.0.path().join("exports");
    let settings = RecorderSettings { export_dir: Some(export_dir.clone()), ..Limits::default().into() };
    let bench = Bench::with(token(), settings).await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(200).await;
    publisher.finish().await;
    let id = bench.assets(AssetType::Recording).await.remove(0).id;
    let is_empty = || std::fs::read_dir(&export_dir).is_ok_and(|mut entries| entries.next().is_none());
    fill(mount.0.path(), 4096);
    let refused = bench.recorder.export(id).await.unwrap().done().await.unwrap_err();
    assert!(matches!(refused, ExportError::NoRoom { .. }), "{refused:?}");
    assert!(is_empty());

    // The room goes while it is written.
    let directory = ExportDirectory::new(&export_dir);
    let mut writer = directory.begin("1").await.unwrap();
    let failed = async {
        loop {
            if let Err(error) = writer.write(vec![7; 1000].into()).await {
                return error;
            }
        }
    }
    .await;
    assert!(failed.is_full(), "{failed:?}");
    drop(writer);
    assert!(is_empty());

    std::fs::remove_file(mount.0.path().join("filler")).unwrap();
    let exported = bench.recorder.export(id).await.unwrap().done().await.unwrap();
    assert!(std::fs::read(&exported.path).unwrap() == bench.file(id).await);
    // The kernel copies from one file system to another of a different kind only through memory.
    let is_tmpfs = std::fs::read_to_string("/proc/mounts").unwrap().lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == std::env::temp_dir().to_str() && words.next() == Some("tmpfs")
    });
    assert!(is_tmpfs || exported.done == Some(ExportDone::CopiedThroughMemory), "{exported:?}");
}
