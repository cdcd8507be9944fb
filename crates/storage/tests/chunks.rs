//! Chunk files: what is appended can be read, cut back, freed and removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use mediahooks_model::TimelineId;
use mediahooks_storage::{DiskStorage, Part, StorageError, gather};

fn timeline() -> TimelineId {
    "0123456789abcdef0123456789abcdef".parse().unwrap()
}

fn storage() -> (tempfile::TempDir, DiskStorage) {
    let directory = tempfile::tempdir().unwrap();
    let storage = DiskStorage::open(directory.path().join("media")).unwrap();
    (directory, storage)
}

#[tokio::test]
async fn appended_parts_are_read_back_as_one() {
    let (_directory, storage) = storage();
    let mut writer = storage.create_chunk(timeline(), 0, b"init".to_vec()).await.unwrap();
    // More pieces than one system call takes, some of them empty.
    let parts: Vec<Bytes> = (0..3000u32).map(|n| Bytes::from(vec![n as u8; (n % 7) as usize])).collect();
    let whole = parts.concat();
    let first = writer.append(parts).await.unwrap();
    let second = writer.append(vec![Bytes::from_static(b"tail")]).await.unwrap();
    assert_eq!((first.offset, first.len), (4, whole.len() as u64));
    assert_eq!((second.offset, second.len), (4 + whole.len() as u64, 4));

    let reader = storage.open_chunk(timeline(), 0).await.unwrap();
    assert_eq!(reader.read(4, whole.len()).await.unwrap(), whole);
    assert_eq!(reader.read(second.offset, 4).await.unwrap(), "tail");
    let error = reader.read(second.offset, 5).await.unwrap_err();
    assert!(matches!(error, StorageError::TooShort { .. }), "{error}");
}

#[tokio::test]
async fn parts_of_several_files_are_gathered_in_their_order() {
    let (_directory, storage) = storage();
    let mut stored = Vec::new();
    for (chunk, fill) in [(0, 7), (1, 11)] {
        let mut writer = storage.create_chunk(timeline(), chunk, Vec::new()).await.unwrap();
        let bytes: Vec<u8> = (0..50_000u32).map(|n| (n / fill) as u8).collect();
        writer.append(vec![bytes.clone().into()]).await.unwrap();
        stored.push((storage.open_chunk(timeline(), chunk).await.unwrap(), bytes));
    }
    let (mut parts, mut expected) = (Vec::new(), Vec::new());
    let mut part = |chunk: usize, from: usize, len: usize| {
        let (reader, bytes) = &stored[chunk];
        parts.push(Part::Stored(reader.range(from as u64, len as u64)));
        expected.extend_from_slice(&bytes[from..from + len]);
        let made = format!("<{from}>");
        expected.extend_from_slice(made.as_bytes());
        parts.push(Part::Made(made.into()));
    };
    // More ranges that follow one another than one system call takes; with those of the other file, some the
    // wrong way around, between them; twice the same; one that is empty.
    for number in 0..2500 {
        part(0, number * 9, 9);
        part(1, 40_000 - number * 16, 16);
    }
    for (from, len) in [(100, 900), (100, 900), (500, 50), (7, 0)] {
        part(0, from, len);
    }
    assert_eq!(gather(parts.clone()).await.unwrap(), expected);
    assert_eq!(gather(Vec::new()).await.unwrap(), "");
    let (reader, _) = &stored[1];
    parts.push(Part::Stored(reader.range(49_999, 2)));
    let error = gather(parts).await.unwrap_err();
    assert!(matches!(error, StorageError::TooShort { wanted: 50_001, .. }), "{error}");
}

#[tokio::test]
async fn large_appends_begin_on_blocks_of_their_own() {
    let (_directory, storage) = storage();
    let mut writer = storage.create_chunk(timeline(), 0, b"init".to_vec()).await.unwrap();
    let media = Bytes::from(vec![7; 200_001]);
    let first = writer.append(vec![media.clone()]).await.unwrap();
    let second = writer.append(vec![media.clone()]).await.unwrap();
    assert_eq!((first.offset, first.len, second.offset, second.len), (4, 200_001, 200_704, 200_001));
    let file = storage.chunk_files().await.unwrap().remove(0);
    assert_eq!((file.len, writer.len()), (401_408, 401_408));
    assert_eq!(file.bytes_behind(second.offset + second.len), 0, "only padding");
    assert_eq!(file.bytes_behind(first.offset + first.len), 401_408 - 200_005);
    let reader = storage.open_chunk(timeline(), 0).await.unwrap();
    assert_eq!(reader.read(second.offset, media.len()).await.unwrap(), media);
    let padding = reader.read(first.offset + first.len, 699).await.unwrap();
    assert_eq!(padding[..8], [0, 0, 2, 187, b'f', b'r', b'e', b'e']);
}

#[tokio::test]
async fn a_chunk_is_never_begun_twice() {
    let (_directory, storage) = storage();
    storage.create_chunk(timeline(), 3, Vec::new()).await.unwrap();
    assert!(storage.create_chunk(timeline(), 3, Vec::new()).await.is_err());
}

#[tokio::test]
async fn what_a_crash_left_is_cut_back() {
    let (_directory, storage) = storage();
    let mut writer = storage.create_chunk(timeline(), 0, b"init".to_vec()).await.unwrap();
    writer.append(vec![Bytes::from_static(b"indexed and torn")]).await.unwrap();
    drop(writer);
    storage.cut_back(timeline(), 0, 11).await.unwrap();
    let found = storage.chunk_files().await.unwrap();
    assert_eq!((found.len(), found[0].timeline, found[0].chunk, found[0].len), (1, timeline(), 0, 11));
}

#[tokio::test]
async fn a_freed_range_gives_its_blocks_back_and_spares_its_neighbours() {
    let (_directory, storage) = storage();
    let mut writer = storage.create_chunk(timeline(), 0, Vec::new()).await.unwrap();
    let block = 1 << 20;
    for fill in [1u8, 2, 3] {
        writer.append(vec![Bytes::from(vec![fill; block])]).await.unwrap();
    }
    let before = storage.chunk_files().await.unwrap()[0].allocated;
    storage.free(timeline(), 0, block as u64, block as u64).await.unwrap();
    let after = &storage.chunk_files().await.unwrap()[0];
    assert_eq!(after.len, 3 * block as u64);
    assert!(after.allocated < before, "{} then {}", before, after.allocated);
    let reader = storage.open_chunk(timeline(), 0).await.unwrap();
    assert_eq!(reader.read(block as u64 - 1, 1).await.unwrap()[0], 1);
    assert_eq!(reader.read(2 * block as u64, 1).await.unwrap()[0], 3);
}

#[tokio::test]
async fn a_removed_chunk_can_be_read_to_the_end_by_who_has_it_open() {
    let (_directory, storage) = storage();
    let mut writer = storage.create_chunk(timeline(), 0, b"init".to_vec()).await.unwrap();
    writer.append(vec![Bytes::from_static(b"media")]).await.unwrap();
    let reader = storage.open_chunk(timeline(), 0).await.unwrap();
    storage.remove_chunk(timeline(), 0).await.unwrap();
    storage.remove_chunk(timeline(), 0).await.unwrap();
    storage.free(timeline(), 0, 0, 4).await.unwrap();
    assert!(storage.open_chunk(timeline(), 0).await.is_err());
    assert_eq!(reader.read(4, 5).await.unwrap(), "media");
    assert_eq!(storage.chunk_files().await.unwrap(), []);
    assert!(!storage.chunk_path(timeline(), 0).parent().unwrap().exists());
}

#[tokio::test]
async fn the_identity_of_a_directory_outlives_its_opening() {
    let (directory, storage) = storage();
    assert_eq!(storage.identity().await.unwrap(), None);
    storage.set_identity("first".into()).await.unwrap();
    storage.set_identity("second".into()).await.unwrap();
    let again = DiskStorage::open(directory.path().join("media")).unwrap();
    assert_eq!(again.identity().await.unwrap().as_deref(), Some("second"));
    assert_eq!(std::fs::read_dir(again.root()).unwrap().count(), 1, "nothing but the file itself");
    assert_eq!(again.chunk_files().await.unwrap(), []);
}

#[tokio::test]
async fn foreign_files_are_left_alone() {
    let (directory, storage) = storage();
    let root = directory.path().join("media");
    std::fs::write(root.join("notes.txt"), "mine").unwrap();
    std::fs::create_dir(root.join("lost+found")).unwrap();
    assert_eq!(storage.chunk_files().await.unwrap(), []);
    storage.probe().await.unwrap();
    assert!(root.join("notes.txt").exists());
}

#[test]
fn a_full_disk_is_told_apart() {
    // `/dev/full` refuses every write as a full disk does.
    let source = std::fs::write("/dev/full", b"x").unwrap_err();
    assert!(StorageError::Io { action: "write", path: "/dev/full".into(), source }.is_full());
}

#[tokio::test]
async fn the_kernel_sends_a_range_to_a_socket() {
    use std::io::Read;
    let (_directory, storage) = storage();
    let mut writer = storage.create_chunk(timeline(), 0, b"init".to_vec()).await.unwrap();
    writer.append(vec![Bytes::from_static(b"some media")]).await.unwrap();
    let reader = storage.open_chunk(timeline(), 0).await.unwrap();
    assert!(reader.cached(4, 0).is_none() && reader.cached(4, 11).is_none(), "it ends before");
    // Not every file system says what is in the page cache.
    let Some(range) = reader.cached(4, 10) else { return };
    assert_eq!(range.read().await.unwrap(), "some media");
    let (mut read, write) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(range.send(&write, 5, 3).unwrap(), 3);
    assert_eq!(range.send(&write, 8, 100).unwrap(), 2);
    assert_eq!(range.send(&write, 10, 100).unwrap(), 0);
    drop(write);
    let mut sent = String::new();
    read.read_to_string(&mut sent).unwrap();
    assert_eq!(sent, "media");

    storage.cut_back(timeline(), 0, 4).await.unwrap();
    let (_read, write) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(range.send(&write, 0, 1).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn files_that_are_removed_while_they_are_listed_are_no_failure() {
    let (_directory, storage) = storage();
    storage.create_chunk(timeline(), 0, Vec::new()).await.unwrap();
    let paths: Vec<_> = (1..100).map(|chunk| storage.chunk_path(timeline(), chunk)).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let coming_and_going = std::thread::spawn({
        let is_over = is_over.clone();
        move || {
            while !is_over.load(Ordering::Relaxed) {
                paths.iter().for_each(|path| std::fs::write(path, "").unwrap());
                paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
            }
        }
    });
    for _ in 0..300 {
        let files = storage.chunk_files().await.unwrap();
        assert!(files.iter().any(|file| file.chunk == 0), "one stays");
    }
    is_over.store(true, Ordering::Relaxed);
    coming_and_going.join().unwrap();
}
