//! Exports over REST.

mod common;

use axum::body::Body;
use common::Bench;
use sha2::{Digest, Sha256};

async fn export(bench: &Bench, id: &str) -> common::Reply {
    bench.raw("POST", &format!("/api/v3/media/assets/{id}/export"), Body::empty()).await
}

#[tokio::test]
async fn an_exported_file_is_the_download() {
    exported_as_downloaded(0, &["memory"]).await;
    exported_as_downloaded(70_000, &["kernel", "memory"]).await;
}

/// Of pictures of at least so many bytes.
async fn exported_as_downloaded(picture_bytes: usize, copied_by: &[&str]) {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await;
    publisher.send_large(80, picture_bytes).await;
    publisher.finish().await;
    let recording = bench.get("/api/v3/media/assets?type=recording").await.data()[0].clone();
    let id = recording["id"].as_str().unwrap();
    let link = recording["download"]["downloadUrl"].as_str().unwrap();
    let download = bench.get(link.strip_prefix("https://media.example.com").unwrap()).await;
    let exported = export(&bench, id).await.data();
    let path = bench.directory.path().join("exports").join(exported["fileName"].as_str().unwrap());
    assert_eq!(exported["path"], path.to_str().unwrap());
    let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    assert_eq!(digest(&std::fs::read(&path).unwrap()), digest(&download.body));
    assert_eq!(exported["sizeBytes"], download.body.len());
    assert_eq!(exported["writtenBytes"], download.body.len());
    assert_eq!(exported["status"], "complete");
    assert_eq!(format!("\"{}\"", exported["etag"].as_str().unwrap()), download.header("etag"));
    assert!(copied_by.contains(&exported["copiedBy"].as_str().unwrap()), "{exported}");
    let again = export(&bench, id).await.data();
    assert_eq!((&again["path"], &again["status"]), (&exported["path"], &exported["status"]));
}

#[tokio::test]
async fn what_has_no_file_is_not_exported() {
    let bench = Bench::new().await;
    for unknown in ["x", "0123456789abcdef0123456789abcdef"] {
        let message = export(&bench, unknown).await.failed(400);
        assert_eq!(message, format!("No media asset with id: {unknown}"));
    }
    let mut publisher = bench.publish("stage", &[]).await;
    publisher.send(80).await;
    let assets = "/api/v3/media/assets?type=recording&status=processing";
    let id = loop {
        let found = bench.get(assets).await.data();
        if let Some(id) = found[0]["id"].as_str() {
            break id.to_owned();
        }
        tokio::task::yield_now().await;
    };
    let timeline = bench.get("/api/v3/media/assets?type=timeline").await.data()[0]["id"].clone();
    let message = export(&bench, timeline.as_str().unwrap()).await.failed(400);
    assert_eq!(message, "the asset is a timeline, which has no file: make a clip of it");
    assert!(export(&bench, &id).await.failed(409).contains("`processing`"));
    publisher.finish().await;
    bench.raw("DELETE", &format!("/api/v3/media/assets?id={id}"), "").await.data();
    assert_eq!(export(&bench, &id).await.failed(410), "the asset was deleted");
    assert!(!bench.directory.path().join("exports").exists());
}
