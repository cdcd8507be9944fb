//! Objects: whole and durable under their name, or not there.

use bytes::Bytes;
use mediahooks_model::TimelineId;
use mediahooks_storage::{ChunkReader, DiskStorage, ExportDirectory, StorageError};

async fn chunk(directory: &tempfile::TempDir, media: &[u8]) -> ChunkReader {
    let storage = DiskStorage::open(directory.path().join("media")).unwrap();
    let timeline: TimelineId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    let mut writer = storage.create_chunk(timeline, 0, b"init".to_vec()).await.unwrap();
    writer.append(vec![Bytes::copy_from_slice(media)]).await.unwrap();
    storage.open_chunk(timeline, 0).await.unwrap()
}

fn names(exports: &ExportDirectory) -> Vec<String> {
    let entries = std::fs::read_dir(exports.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn an_object_is_whole_or_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let exports = ExportDirectory::new(directory.path().join("new").join("exports"));
    exports.tidy().await.unwrap();
    let media: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let reader = chunk(&directory, &media).await;
    let mut whole = Vec::new();
    for _ in 0..2 {
        let mut writer = exports.begin("1").await.unwrap();
        writer.write(Bytes::from_static(b"header")).await.unwrap();
        writer.copy(&reader, 4 + 100, 2_000_000).await.unwrap();
        writer.write(Bytes::from_static(b"between")).await.unwrap();
        writer.copy(&reader, 4, 7).await.unwrap();
        assert!(names(&exports).iter().any(|name| name.starts_with(".mediahooks-export-")));
        let object = writer.finish("file.mp4", "\"tag\"").await.unwrap();
        assert_eq!(names(&exports), ["file.mp4"]);
        whole = [b"header", &media[100..2_000_100], b"between", &media[..7]].concat();
        assert!(std::fs::read(&object.path).unwrap() == whole);
        assert_eq!(object.len, whole.len() as u64);
    }
    // Where attributes are kept, it is found by them, and only if it is the same.
    let len = whole.len() as u64;
    if let Some(found) = exports.find("file.mp4", len, "\"tag\"").await.unwrap() {
        assert!(std::fs::read(found).unwrap() == whole);
    }
    assert_eq!(exports.find("file.mp4", len, "\"other\"").await.unwrap(), None);
    assert_eq!(exports.find("file.mp4", len + 1, "\"tag\"").await.unwrap(), None);
    assert_eq!(exports.find("none.mp4", len, "\"tag\"").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_not_finished_goes() {
    let directory = tempfile::tempdir().unwrap();
    let exports = ExportDirectory::new(directory.path().join("exports"));
    let reader = chunk(&directory, b"media").await;
    let mut writer = exports.begin("1").await.unwrap();
    writer.write(Bytes::from_static(b"half")).await.unwrap();
    let error = writer.copy(&reader, 4, 6).await.unwrap_err();
    assert!(matches!(error, StorageError::TooShort { .. }), "{error}");
    drop(writer);
    assert_eq!(names(&exports), [""; 0]);
    // As a crash leaves it.
    std::mem::forget(exports.begin("2").await.unwrap());
    std::fs::write(exports.path().join("a user's"), "").unwrap();
    exports.tidy().await.unwrap();
    assert_eq!(names(&exports), ["a user's"]);
}

#[tokio::test]
async fn a_name_cannot_lead_out_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let exports = ExportDirectory::new(directory.path().join("exports"));
    for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a/", "./a"] {
        assert!(exports.begin("1").await.unwrap().finish(name, "").await.is_err(), "{name}");
        assert!(exports.find(name, 0, "").await.is_err(), "{name}");
    }
    assert!(exports.begin("../1").await.is_err());
    assert_eq!(names(&exports), [""; 0]);
}
