//! The disk that a file is exported to is full before the file is.
//!
//! There is no part of a file: what was there before under its name stays, and who asked is told. With room again it is
//! the download, byte for byte and with its entity tag. Once its asset is deleted it stays, and no other one is made.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use mediahooks_model::AssetType;
use mediahooks_recorder::ExportError;
use mediahooks_testkit::synthetic::Source;
use tokio_util::sync::CancellationToken;

use crate::common::eventually;
use crate::stage::Stage;

fn objects(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn there_is_the_whole_file_or_none() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(20));
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    let (id, recorder) = (recording.asset.id, &stage.bench.recorder);
    let directory = stage.bench.directory.path().join("exports");
    std::fs::create_dir(&directory).unwrap();
    // Every write to it finds the disk full.
    let fill = || symlink("/dev/full", directory.join(format!(".mediahooks-export-{id}"))).unwrap();

    fill();
    let refused = recorder.export(id).await.unwrap().done().await.unwrap_err();
    assert!(matches!(refused, ExportError::NoRoom { free_bytes: 0, .. }), "{refused:?}");
    assert!(refused.to_string().contains("make room there"), "{refused}");
    assert_eq!(objects(&directory), Vec::<PathBuf>::new());

    let exported = recorder.export(id).await.unwrap().done().await.unwrap();
    assert_eq!(exported.etag, recorder.open_download(id).await.unwrap().etag);
    assert!(std::fs::read(&exported.path).unwrap() == recording.file);
    // What is under its name is no more than a part, as if somebody had cut it off, and stays so.
    std::fs::write(&exported.path, "a part").unwrap();
    fill();
    recorder.export(id).await.unwrap().done().await.unwrap_err();
    assert_eq!(objects(&directory), std::slice::from_ref(&exported.path));
    assert_eq!(std::fs::read(&exported.path).unwrap(), b"a part");
    let again = recorder.export(id).await.unwrap().done().await.unwrap();
    assert_eq!((&again.path, &again.etag), (&exported.path, &exported.etag));
    assert!(std::fs::read(&again.path).unwrap() == recording.file);

    let sweeper = CancellationToken::new();
    tokio::spawn(recorder.clone().run_sweeper(sweeper.clone()));
    for asset_type in [AssetType::Timeline, AssetType::Recording] {
        recorder.delete_assets_of_type(asset_type).await.unwrap();
    }
    let storage = &stage.bench.storage;
    eventually(async || storage.chunk_files().await.is_ok_and(|files| files.is_empty()).then_some(())).await;
    assert!(std::fs::read(&exported.path).unwrap() == recording.file);
    assert!(matches!(recorder.export(id).await.err(), Some(ExportError::NoFile(_))));
    assert_eq!(objects(&directory), [exported.path]);
    sweeper.cancel();
}
