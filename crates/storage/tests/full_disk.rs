//! A disk that takes no more: what failed leaves nothing behind.
//!
//! The limit on the size of files stands for the full disk: like one, it lets a write get half-way.
//! It holds for the whole process, so that there is one test in this file.

use bytes::Bytes;
use mediahooks_model::TimelineId;
use mediahooks_storage::{DiskStorage, StorageError};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// `SIGXFSZ` of Linux, which ends a process that writes past the limit unless it is handled.
const FILE_TOO_LARGE: SignalKind = SignalKind::from_raw(25);

const LIMIT: usize = 4096;

#[tokio::test]
async fn what_failed_leaves_no_file_and_no_torn_tail() {
    let _handled = signal(FILE_TOO_LARGE).unwrap();
    setrlimit(Resource::Fsize, Rlimit { current: Some(LIMIT as u64), maximum: None }).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let storage = DiskStorage::open(directory.path()).unwrap();
    let timeline: TimelineId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    let too_much = || vec![Bytes::from(vec![7; LIMIT / 2]), Bytes::from(vec![8; LIMIT])];
    let is_empty = || std::fs::read_dir(directory.path()).unwrap().next().is_none();

    let begun = storage.create_chunk(timeline, 0, vec![1; LIMIT + 1]).await;
    assert!(matches!(begun, Err(StorageError::Io { action: "write", .. })), "{begun:?}");
    assert!(is_empty());

    let mut writer = storage.create_chunk(timeline, 1, b"init".to_vec()).await.unwrap();
    assert!(writer.append(too_much()).await.is_err());
    assert!(is_empty());

    let mut writer = storage.create_chunk(timeline, 2, b"init".to_vec()).await.unwrap();
    writer.append(vec![Bytes::from_static(b"media")]).await.unwrap();
    assert!(writer.append(too_much()).await.is_err());
    let files = storage.chunk_files().await.unwrap();
    assert_eq!(files.iter().map(|file| (file.chunk, file.len)).collect::<Vec<_>>(), [(2, 9)]);
    let poisoned = writer.append(vec![Bytes::from_static(b"more")]).await;
    assert!(matches!(poisoned, Err(StorageError::Poisoned { chunk: 2, .. })), "{poisoned:?}");
    let reader = storage.open_chunk(timeline, 2).await.unwrap();
    assert_eq!(reader.read(4, 5).await.unwrap(), "media");

    // A second file that fails takes only itself away.
    let mut writer = storage.create_chunk(timeline, 3, b"init".to_vec()).await.unwrap();
    assert!(writer.append(too_much()).await.is_err());
    assert_eq!(storage.chunk_files().await.unwrap(), files);
}
