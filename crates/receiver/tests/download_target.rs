//! What may come to stand at the final path: only a whole file, and never in place of another unasked.

mod support;

use mediahooks_receiver::{Download, DownloadError, DownloadPolicy};
use reqwest::Client;
use support::{Scripted, files_in, impatient, response};
use tempfile::TempDir;

fn ten_bytes() -> String {
    response(200, &["content-length: 10", "etag: \"v1\""], "0123456789")
}

/// A folder that holds a file with this content at the final path.
fn folder_with(content: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("clip.mp4"), content).unwrap();
    folder
}

async fn aimed_at(folder: &TempDir, response: String) -> Download {
    let server = Scripted::playing([response]).await;
    Download::new(Client::new(), server.url()).to(folder.path().join("clip.mp4")).policy(impatient())
}

fn content(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join("clip.mp4")).unwrap()
}

#[tokio::test]
async fn a_file_of_the_announced_length_is_left_alone() {
    let folder = folder_with("abcdefghij");
    let downloaded = aimed_at(&folder, ten_bytes()).await.run().await.unwrap();
    assert_eq!((downloaded.already_there, downloaded.size_bytes), (true, 10));
    assert_eq!((content(&folder).as_str(), files_in(&folder).len()), ("abcdefghij", 1));
}

#[tokio::test]
async fn another_file_is_not_replaced_unasked() {
    let folder = folder_with("precious");
    let refused = aimed_at(&folder, ten_bytes()).await.run().await.unwrap_err();
    assert!(matches!(refused, DownloadError::TargetExists { .. }));
    assert_eq!((content(&folder).as_str(), files_in(&folder).len()), ("precious", 1));
}

#[tokio::test]
async fn another_file_is_replaced_when_asked_and_only_by_a_whole_one() {
    let folder = folder_with("old");
    let broken = response(200, &["content-length: 10"], "0123");
    assert!(aimed_at(&folder, broken).await.replace().run().await.is_err());
    assert_eq!((content(&folder).as_str(), files_in(&folder).len()), ("old", 1));
    aimed_at(&folder, ten_bytes()).await.replace().run().await.unwrap();
    assert_eq!((content(&folder).as_str(), files_in(&folder).len()), ("0123456789", 1));
}

#[tokio::test]
async fn an_end_that_could_be_a_broken_connection_is_not_trusted() {
    let folder = TempDir::new().unwrap();
    let refused = aimed_at(&folder, response(200, &[], "0123")).await.run().await.unwrap_err();
    assert!(matches!(refused, DownloadError::NoLength));
    assert!(files_in(&folder).is_empty());
}

#[tokio::test]
async fn a_chunked_body_marks_its_own_end() {
    let folder = TempDir::new().unwrap();
    let chunked = response(200, &["transfer-encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(aimed_at(&folder, chunked).await.run().await.unwrap().size_bytes, 5);
    assert_eq!(content(&folder), "hello");
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let folder = TempDir::new().unwrap();
    let empty = response(200, &["content-length: 0"], "");
    assert_eq!(aimed_at(&folder, empty).await.run().await.unwrap().size_bytes, 0);
    assert_eq!(files_in(&folder), ["clip.mp4"]);
}

#[tokio::test]
async fn an_encoded_body_is_refused() {
    let folder = TempDir::new().unwrap();
    let gzip = response(200, &["content-length: 4", "content-encoding: gzip"], "0123");
    let server = Scripted::playing([gzip]).await;
    let download = Download::new(Client::new(), server.url()).to(folder.path().join("clip.mp4"));
    assert!(matches!(download.run().await, Err(DownloadError::Encoded)));
    assert_eq!(server.asked("accept-encoding"), ["identity"]);
}

#[tokio::test]
async fn a_file_above_the_limit_is_refused_announced_or_not() {
    let endless = response(200, &["transfer-encoding: chunked"], "6\r\nhello!\r\n");
    for large in [ten_bytes(), endless] {
        let folder = TempDir::new().unwrap();
        let policy = DownloadPolicy { size_bytes_max: 5, ..impatient() };
        let refused = aimed_at(&folder, large).await.policy(policy).run().await.unwrap_err();
        assert!(matches!(refused, DownloadError::TooLarge { max: 5 }), "{refused:?}");
        assert!(files_in(&folder).is_empty());
    }
}

#[tokio::test]
async fn a_folder_that_is_missing_is_named() {
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("missing").join("clip.mp4");
    let refused = Download::new(Client::new(), "http://127.0.0.1:9/").to(target).run().await.unwrap_err();
    assert!(refused.to_string().contains("missing/clip.mp4.part"), "{refused}");
}

#[tokio::test]
async fn a_link_that_is_none_is_refused() {
    let folder = TempDir::new().unwrap();
    for link in ["", "clip.mp4", "ftp://example.com/clip.mp4"] {
        let download = Download::new(Client::new(), link).to(folder.path().join("clip.mp4"));
        assert!(matches!(download.run().await, Err(DownloadError::Url(_))), "{link}");
    }
}
