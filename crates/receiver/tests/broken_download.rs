//! A transfer that breaks goes on where it stopped when the file is still the same, and begins anew when it
//! is not. Whatever happens, the final path holds a whole file or none.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mediahooks_receiver::{AttemptError, Download, DownloadError, DownloadPolicy, Downloaded, Progress};
use reqwest::Client;
use support::{Scripted, files_in, impatient, response};
use tempfile::TempDir;

const BODY: &str = "0123456789";

/// The first response of most cases: it announces ten bytes and breaks after four.
fn broken_after_four(etag: &str) -> String {
    response(200, &["content-length: 10", etag], &BODY[..4])
}

fn rest_from_four(range: &str) -> String {
    response(206, &["content-length: 6", "etag: \"v1\"", range], &BODY[4..])
}

async fn download(server: &Scripted, folder: &TempDir) -> Result<Downloaded, DownloadError> {
    let target = folder.path().join("clip.mp4");
    Download::new(Client::new(), server.url()).to(target).policy(impatient()).run().await
}

/// Expects the file to be whole with this content after this many requests, and nothing beside it.
fn assert_whole(downloaded: Downloaded, folder: &TempDir, content: &str, requests: u32) {
    assert_eq!(std::fs::read_to_string(&downloaded.path).unwrap(), content);
    assert_eq!((downloaded.size_bytes, downloaded.requests), (content.len() as u64, requests));
    assert_eq!(files_in(folder), ["clip.mp4"]);
}

#[tokio::test]
async fn a_dropped_connection_is_continued() {
    let folder = TempDir::new().unwrap();
    let server =
        Scripted::playing([broken_after_four("etag: \"v1\""), rest_from_four("content-range: bytes 4-9/10")])
            .await;
    let downloaded = download(&server, &folder).await.unwrap();
    assert_whole(downloaded, &folder, BODY, 2);
    assert_eq!(server.asked("range"), ["", "bytes=4-"]);
    assert_eq!(server.asked("if-range"), ["", "\"v1\""]);
    assert_eq!(server.asked("accept-encoding"), ["identity", "identity"]);
}

#[tokio::test]
async fn a_run_goes_on_where_an_earlier_one_gave_up() {
    let folder = TempDir::new().unwrap();
    let busy = || response(503, &["content-length: 0"], "");
    let server = Scripted::playing([
        broken_after_four("etag: \"v1\""),
        busy(),
        busy(),
        rest_from_four("content-range: bytes 4-9/10"),
    ])
    .await;
    let gave_up = download(&server, &folder).await.unwrap_err();
    assert!(matches!(gave_up, DownloadError::GaveUp { requests: 3, source: AttemptError::Status(_) }));
    assert_eq!(files_in(&folder), ["clip.mp4.part", "clip.mp4.part.state"]);

    let downloaded = download(&server, &folder).await.unwrap();
    assert_whole(downloaded, &folder, BODY, 1);
    assert_eq!(server.asked("range").last().unwrap(), "bytes=4-");
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_begins_anew() {
    let folder = TempDir::new().unwrap();
    let changed = response(200, &["content-length: 5", "etag: \"v2\""], "fresh");
    let server = Scripted::playing([broken_after_four("etag: \"v1\""), changed]).await;
    let downloaded = download(&server, &folder).await.unwrap();
    assert_whole(downloaded, &folder, "fresh", 2);
}

#[tokio::test]
async fn a_server_without_ranges_begins_anew() {
    let folder = TempDir::new().unwrap();
    let whole = response(200, &["content-length: 10", "etag: \"v1\""], BODY);
    let server = Scripted::playing([broken_after_four("etag: \"v1\""), whole]).await;
    let downloaded = download(&server, &folder).await.unwrap();
    assert_whole(downloaded, &folder, BODY, 2);
    assert_eq!(server.asked("range"), ["", "bytes=4-"]);
}

#[tokio::test]
async fn without_a_strong_etag_no_range_is_asked_for() {
    for etag in ["etag: W/\"v1\"", "x-no-etag: 1"] {
        let folder = TempDir::new().unwrap();
        let whole = response(200, &["content-length: 10", etag], BODY);
        let server = Scripted::playing([broken_after_four(etag), whole]).await;
        let downloaded = download(&server, &folder).await.unwrap();
        assert_whole(downloaded, &folder, BODY, 2);
        assert_eq!(server.asked("range"), ["", ""]);
    }
}

#[tokio::test]
async fn a_range_that_was_not_asked_for_is_not_glued_on() {
    for range in ["content-range: bytes 3-8/10", "content-range: bytes 4-9/*", "x-no-range: 1"] {
        let folder = TempDir::new().unwrap();
        let whole = response(200, &["content-length: 10", "etag: \"v1\""], BODY);
        let server =
            Scripted::playing([broken_after_four("etag: \"v1\""), rest_from_four(range), whole]).await;
        let downloaded = download(&server, &folder).await.unwrap();
        assert_whole(downloaded, &folder, BODY, 3);
        assert_eq!(server.asked("range"), ["", "bytes=4-", ""]);
    }
}

#[tokio::test]
async fn a_part_that_was_complete_before_a_crash_is_put_in_place() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("clip.mp4.part"), BODY).unwrap();
    let note = r#"{"etag":"\"v1\"","total_bytes":10,"synced_bytes":10}"#;
    std::fs::write(folder.path().join("clip.mp4.part.state"), note).unwrap();
    let server = Scripted::playing([response(416, &["content-range: bytes */10"], "")]).await;
    let downloaded = download(&server, &folder).await.unwrap();
    assert_whole(downloaded, &folder, BODY, 1);
}

#[tokio::test]
async fn a_server_that_stays_down_is_given_up() {
    let folder = TempDir::new().unwrap();
    let busy = || response(503, &["retry-after: 3600", "content-length: 0"], "");
    let server = Scripted::playing([busy(), busy(), busy()]).await;
    let gave_up = download(&server, &folder).await.unwrap_err();
    assert!(matches!(gave_up, DownloadError::GaveUp { requests: 3, .. }));
    assert!(files_in(&folder).is_empty());
}

#[tokio::test]
async fn an_expired_link_is_not_asked_again_and_not_shown() {
    let folder = TempDir::new().unwrap();
    let server = Scripted::playing([response(403, &["content-length: 0"], "")]).await;
    let refused = download(&server, &folder).await.unwrap_err();
    assert!(matches!(refused, DownloadError::Refused(status) if status == 403));
    assert!(!format!("{refused} {refused:?}").contains("secret"));
    assert!(files_in(&folder).is_empty());
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_does_not_show_the_link() {
    let folder = TempDir::new().unwrap();
    let server = Scripted::playing([]).await;
    let gave_up = download(&server, &folder).await.unwrap_err();
    assert!(matches!(gave_up, DownloadError::GaveUp { requests: 3, .. }));
    assert!(!format!("{gave_up} {gave_up:?}").contains("secret"));
}

/// With no patience at all the first silence is too long, so the test does not have to wait.
#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let folder = TempDir::new().unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let policy = DownloadPolicy { idle_timeout: Duration::ZERO, ..impatient() };
    let download = Download::new(Client::new(), url).to(folder.path().join("clip.mp4")).policy(policy);
    let gave_up = download.run().await.unwrap_err();
    assert!(matches!(gave_up, DownloadError::GaveUp { source: AttemptError::Idle(_), .. }));
}

#[tokio::test]
async fn progress_tells_what_is_on_disk() {
    let folder = TempDir::new().unwrap();
    let server =
        Scripted::playing([broken_after_four("etag: \"v1\""), rest_from_four("content-range: bytes 4-9/10")])
            .await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&told);
    Download::new(Client::new(), server.url())
        .to(folder.path().join("clip.mp4"))
        .policy(impatient())
        .progress(move |progress| teller.lock().unwrap().push(progress))
        .run()
        .await
        .unwrap();
    let told = told.lock().unwrap();
    assert!(told.is_sorted_by_key(|progress| progress.received_bytes));
    assert_eq!(told.last(), Some(&Progress { received_bytes: 10, total_bytes: Some(10) }));
}
