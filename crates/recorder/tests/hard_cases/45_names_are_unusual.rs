//! Names with spaces, emoji, slashes, dots or colons.
//!
//! A stream may have any name the wire allows; nothing on disk is called after it, and the name of a
//! downloaded file has only what every system takes.

use mediahooks_model::StreamName;
use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn they_name_no_path() {
    let stage = Stage::new().await;
    let long = "x".repeat(129);
    for name in ["", &long, "a\nb"] {
        assert!(name.parse::<StreamName>().is_err(), "{name}");
        let refused = stage.bench.open_feed(name, &[]).await.err().unwrap();
        assert_eq!(refused.code, "bad_stream_name", "{name}");
    }
    let names = [
        "übertragung 🎥",
        "a/b/../../etc/passwd",
        "..",
        "x\\y*?",
        "CON",
        "semi;colon&amp=1",
        "camera:1",
        "C:",
        "a::$DATA",
    ];
    for name in names {
        let mut source = Source::default();
        let mut publisher = stage.publish(name, &[]).await;
        let mut tags = source.headers();
        tags.extend(source.seconds(1));
        stage.push(&mut publisher, &tags).await;
        stage.end(publisher).await;
    }
    let recordings = stage.recordings().await;
    let mut streams: Vec<_> = recordings.iter().map(|kept| kept.asset.stream_name.to_string()).collect();
    streams.sort();
    let mut wanted = names.map(str::to_owned);
    wanted.sort();
    assert_eq!(streams, wanted);
    for recording in recordings {
        let name = stage.bench.recorder.open_download(recording.asset.id).await.unwrap().file_name;
        assert!(
            !name.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|']) && name.ends_with(".mp4"),
            "{name}"
        );
    }
    for file in stage.bench.storage.chunk_files().await.unwrap() {
        let path = stage.bench.storage.chunk_path(file.timeline, file.chunk);
        assert!(path.parent().unwrap().parent() == Some(stage.bench.storage.root()));
    }
}
