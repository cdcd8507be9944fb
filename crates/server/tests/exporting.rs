//! A broadcast as one file on the server's disk: the same bytes as its download, judged by ffprobe and a decoder.

mod support;

use mediahooks_testkit::eventually;
use mediahooks_testkit::ffmpeg::{self, Broadcast};

#[tokio::test]
async fn an_export_is_moved_where_it_is_wanted_and_plays() {
    let server = support::server().await;
    let rest = server.rest();
    let token = rest.create_token("stage").await;
    let url = server.publish_url("stage", &token);
    Broadcast::live(2).publish(&ffmpeg::ffmpeg(), &url).finish().await;
    let recording = eventually("the recording is complete", async || {
        let found = rest.get("/api/v3/media/assets?type=recording&status=complete").await;
        found.get(0).cloned()
    })
    .await;
    let id = recording["id"].as_str().expect("an id");
    let download = rest.download(id).await;
    let directory = tempfile::tempdir().expect("a directory");
    let target = directory.path().join("show.mp4");
    let shown =
        support::client(&server, &["asset", "export", id, "--to", target.to_str().expect("text")]).await;
    assert!(shown.starts_with(&format!("{}: ", target.display())), "{shown}");
    assert!(std::fs::read(&target).expect("it is there") == download, "it differs from the download");
    let streams = ffmpeg::probe(&target)["streams"].as_array().expect("streams").len();
    assert_eq!(streams, 2);
    assert_eq!(ffmpeg::complaints(&ffmpeg::ffmpeg(), &target), "");
    assert_eq!(ffmpeg::frame_numbers(&ffmpeg::ffmpeg(), &target), (0..60).collect::<Vec<_>>());

    // It was moved: another one is written, and stays in the export directory.
    let exports = || std::fs::read_dir(server.data().join("exports")).expect("it is there").count();
    assert_eq!(exports(), 0);
    for _ in 0..2 {
        let shown = support::client(&server, &["asset", "export", id, "--json"]).await;
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(shown["sizeBytes"], download.len());
        assert!(std::fs::read(shown["path"].as_str().expect("a path")).expect("it is there") == download);
        assert_eq!(exports(), 1);
    }
}
