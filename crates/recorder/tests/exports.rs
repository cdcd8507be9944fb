//! Files as objects of their own: byte for byte the download, whole or not there.

mod common;

use std::path::PathBuf;

use common::{Bench, eventually};
use mediahooks_model::{AssetType, MediaAssetId};
use mediahooks_recorder::{DownloadError, ExportDone, ExportError};
use tokio_util::sync::CancellationToken;

async fn recording(bench: &Bench, stream: &str) -> MediaAssetId {
    let mut publisher = bench.publish(stream, &[]).await.unwrap();
    publisher.config().await;
    publisher.send(200).await;
    publisher.finish().await;
    bench.assets(AssetType::Recording).await.remove(0).id
}

fn objects(bench: &Bench) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(bench.directory.path().join("exports")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn an_export_is_the_download_and_asking_again_changes_nothing() {
    let bench = Bench::new().await;
    let id = recording(&bench, "a/stream: \"with\" an unusual name").await;
    let (file, etag) = (bench.file(id).await, bench.recorder.open_download(id).await.unwrap().etag);
    let exported = bench.recorder.export(id).await.unwrap().done().await.unwrap();
    assert_eq!(exported.path, bench.directory.path().join("exports").join(&exported.file_name));
    assert_eq!(
        (exported.len, exported.written, &exported.etag),
        (file.len() as u64, file.len() as u64, &etag)
    );
    assert!(std::fs::read(&exported.path).unwrap() == file);
    assert_ne!(exported.done, Some(ExportDone::WasThere));
    assert!(exported.file_name.ends_with(&format!(" {id}.mp4")), "{}", exported.file_name);

    let again = bench.recorder.export(id).await.unwrap().done().await.unwrap();
    assert_eq!((&again.path, &again.etag), (&exported.path, &exported.etag));
    assert!(std::fs::read(&again.path).unwrap() == file);
    // What is not the file any more is replaced.
    std::fs::write(&exported.path, "damaged").unwrap();
    let repaired = bench.recorder.export(id).await.unwrap().done().await.unwrap();
    assert_ne!(repaired.done, Some(ExportDone::WasThere));
    assert!(std::fs::read(&exported.path).unwrap() == file);
    assert_eq!(objects(&bench), [exported.path]);
}

#[tokio::test]
async fn those_who_ask_while_it_is_written_join() {
    let bench = Bench::new().await;
    let id = recording(&bench, "stage").await;
    let (one, two) = (bench.recorder.export(id).await.unwrap(), bench.recorder.export(id).await.unwrap());
    drop(bench.recorder.export(id).await.unwrap());
    let (one, two) = (one.done().await.unwrap(), two.done().await.unwrap());
    assert_eq!(one, two);
    assert_eq!(objects(&bench).len(), 1);
}

#[tokio::test]
async fn what_is_deleted_meanwhile_is_exported_whole() {
    let bench = Bench::new().await;
    let id = recording(&bench, "stage").await;
    let file = bench.file(id).await;
    let sweeper = CancellationToken::new();
    tokio::spawn(bench.recorder.clone().run_sweeper(sweeper.clone()));
    let export = bench.recorder.export(id).await.unwrap();
    for asset_type in [AssetType::Timeline, AssetType::Recording] {
        bench.recorder.delete_assets_of_type(asset_type).await.unwrap();
    }
    let exported = export.done().await.unwrap();
    assert!(std::fs::read(&exported.path).unwrap() == file);
    eventually(async || bench.storage.chunk_files().await.is_ok_and(|files| files.is_empty()).then_some(()))
        .await;
    // The object is the user's; another one is not made.
    assert!(exported.path.exists());
    let refused = bench.recorder.export(id).await.err().unwrap();
    assert!(
        matches!(&refused, ExportError::NoFile(why) if matches!(**why, DownloadError::Gone)),
        "{refused:?}"
    );
    let unknown = bench.recorder.export("0".repeat(32).parse().unwrap()).await.err().unwrap();
    assert!(matches!(&unknown, ExportError::NoFile(why) if matches!(**why, DownloadError::NotFound)));
    sweeper.cancel();
}

#[tokio::test]
async fn an_export_that_fails_or_is_stopped_leaves_nothing() {
    let bench = Bench::new().await;
    let id = recording(&bench, "stage").await;
    let chunk = bench.storage.chunk_files().await.unwrap().remove(0);
    bench.storage.cut_back(chunk.timeline, chunk.chunk, chunk.len / 2).await.unwrap();
    let failed = bench.recorder.export(id).await.unwrap().done().await.unwrap_err();
    assert!(matches!(failed, ExportError::Internal(_)), "{failed:?}");
    assert_eq!(objects(&bench), Vec::<PathBuf>::new());
    bench.recorder.drain().await;
    let stopped = bench.recorder.export(id).await.unwrap().done().await.unwrap_err();
    assert!(matches!(stopped, ExportError::Stopping), "{stopped:?}");
    // What a crash leaves goes at the next start.
    let left = bench.directory.path().join("exports").join(".mediahooks-export-1");
    std::fs::write(&left, "half").unwrap();
    let bench = bench.crash_and_restart().await;
    assert_eq!(objects(&bench), Vec::<PathBuf>::new());
}
